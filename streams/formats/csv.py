"""Reading CSV: one row a line, with a header line; cells become typed values column by column.

An empty cell is a missing value, a quoted empty one is the empty string. The elements of a
list stand in one cell, separated by `|`. A value never contains a line end.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from streams.compute.arrays import I64, Bool
from streams.deadletter import raw_line
from streams.errors import DataError
from streams.formats.bad_row_search import split_bad_rows
from streams.formats.json_faults import INT64
from streams.formats.lines import Lines, read_lines
from streams.formats.options import DEFAULT, ReadOptions
from streams.record import EXPECTED, TIMES, BadRow, ColumnCheck, ParsedRows, RecordType
from streams.schema import PLAIN, ValueType
from streams.validate import EXPECTED_TS

LIST_SEPARATOR = "|"

_BOM = b"\xef\xbb\xbf"

# Cells that Arrow converts exactly as Python does; Python decides about all others.
_PLAIN_INT = "^-?[0-9]{1,18}$"
_PLAIN_FLOAT = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$"
_INT = re.compile(r"[+-]?[0-9]{1,400}")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLS = pa.array(["true", "1", "false", "0"])


def read_csv(
    path: Path, record: RecordType, options: ReadOptions = DEFAULT
) -> Iterator[ParsedRows]:
    """The records of a `.csv` or `.csv.gz` file, a block at a time.

    Raises DataError if a column is missing, and as `read_lines` does.
    """
    header, number = _header(path, options.block_bytes)
    parser = CsvParser(record, header, record.locate_columns(path, header))
    for lines in read_lines(path, replace(options, after=max(options.after, number))):
        yield parser.parse(lines)


def _header(path: Path, block_bytes: int) -> tuple[list[str], int]:
    """The names of the columns, and the number of the line that has them."""
    for lines in read_lines(path, ReadOptions(block_bytes, block_rows=1)):
        if len(lines) and not lines.bad:
            try:
                names = next(csv.reader([lines.line(0).decode()]))
            except csv.Error as error:
                raise DataError(
                    f"{path}: the header cannot be read: it is not CSV. Write the columns' names, "
                    "and end lines with LF or CRLF."
                ) from error
            return names, int(lines.numbers[0])
        if lines.bad:
            raise DataError(f"{path}: the header cannot be read: {lines.bad[0].detail}.")
    raise DataError(f"{path}: there is no header line. Begin the file with the columns' names.")


class CsvParser:
    """Makes columns of lines of cells."""

    def __init__(self, record: RecordType, header: list[str], columns: dict[str, str]) -> None:
        """columns: the name in `header` of each column of the record that the file has."""
        self._record = record
        self._columns = columns
        self._width = len(header)
        self._last = b"," * (len(header) - 1)  # a row of nothing
        self._read = pv.ReadOptions(use_threads=False, column_names=header)
        self._convert = pv.ConvertOptions(
            include_columns=list(columns.values()),
            column_types=dict.fromkeys(header, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

    def parse(self, lines: Lines) -> ParsedRows:
        """The columns of the good lines, and the bad ones with their reasons."""
        torn = _torn(lines)
        index = np.delete(np.arange(len(lines)), torn)
        table = self._cells(lines, index)
        blocks, unclosed = [(index, table)] if table else [], list[int]()
        if table is None:
            blocks, unclosed = split_bad_rows(
                index, lambda part: self._cells(lines, part), [lambda: _odd(lines, index)]
            )
        inseparable = [*torn, *unclosed]
        widths = {int(part[i]): n for part, (_, bad) in blocks for i, n in bad.items()}
        index = np.delete(np.arange(len(lines)), [*inseparable, *widths])
        columns, checks = self._typed([cells for _, (cells, _) in blocks], len(index))
        bad = [*lines.bad, *(_inseparable(lines, i) for i in inseparable)]
        bad += [self._wrong_width(lines, i, width) for i, width in widths.items()]
        return ParsedRows(
            columns=columns,
            rows=lines.numbers[index],
            checks=tuple(checks),
            bad=tuple(sorted(bad, key=lambda row: row.row)),
            raw=lambda i: raw_line(lines.line(int(index[i]))),
        )

    def _cells(self, lines: Lines, index: I64) -> tuple[pa.Table, dict[int, int]] | None:
        """The cells of the lines with the right number of cells, and that number of the other
        lines.

        None if any of the lines is not exactly one row, because of a quote for example.
        """
        widths: dict[int, int] = {}

        def skip(row: pv.InvalidRow) -> str:
            widths[row.number - 1] = row.actual_columns
            return "skip"

        # A quote that is not closed swallows what follows, so there must be something to swallow.
        data = lines.joined(index).rstrip(b"\n") + b"\n" + self._last + b"\n"
        if data.startswith(_BOM):  # pyarrow would drop it, but only where a block begins
            data = b"\n" + data
        self._read.block_size = len(data) + 1
        try:
            table = pv.read_csv(
                pa.BufferReader(data),
                read_options=self._read,
                parse_options=pv.ParseOptions(invalid_row_handler=skip),
                convert_options=self._convert,
            )
        except pa.ArrowException:
            return None
        # Without lone returns a row takes at least a line: equal counts mean one line each.
        if table.num_rows + len(widths) != len(index) + 1:
            return None
        return table.slice(0, table.num_rows - 1), widths

    def _wrong_width(self, lines: Lines, i: int, width: int) -> BadRow:
        detail = f"the row has {width} cells; {self._width} are expected, as in the header"
        return BadRow(int(lines.numbers[i]), "wrong_columns", detail, raw_line(lines.line(i)))

    def _typed(
        self, tables: list[pa.Table], rows: int
    ) -> tuple[dict[str, pa.Array], list[ColumnCheck]]:
        columns: dict[str, pa.Array] = {}
        checks: list[ColumnCheck] = []
        for name, kind in self._record.column_types.items():
            if name in self._columns:
                chunks = [c for t in tables for c in t.column(self._columns[name]).chunks]
                cells = pa.chunked_array(chunks, pa.string()).combine_chunks()
            else:
                cells = pa.nulls(rows, pa.string())
            columns[name], misfit, beyond = _converted(cells, kind)
            fitting = f"{EXPECTED[kind]} that fits 64 bits"
            for reason, bad, expected in (
                ("wrong_type", misfit, EXPECTED[kind]),
                ("out_of_range", beyond, fitting),
            ):
                if name in TIMES:
                    reason, expected = "bad_ts", EXPECTED_TS
                checks.append(ColumnCheck(name, reason, bad, cells, expected))
            if kind == "string" and name not in self._record.members:
                columns[name] = columns[name].dictionary_encode()
        return columns, checks


def _torn(lines: Lines) -> list[int]:
    """The lines with a carriage return in them, which ends a row wherever it stands."""
    if lines.data.count(b"\r") == lines.data.count(b"\r\n"):
        return []
    texts = lines.select(np.arange(len(lines)))
    return [i for i, line in enumerate(texts) if b"\r" in line]


def _odd(lines: Lines, index: I64) -> list[int]:
    """The lines with an odd number of quotes: most likely one of them is not closed."""
    texts = zip(index.tolist(), lines.select(index), strict=True)
    return [i for i, line in texts if line.count(b'"') % 2]


def _inseparable(lines: Lines, i: int) -> BadRow:
    detail = "the cells cannot be told apart; closed quotes and no lone line ends are expected"
    return BadRow(int(lines.numbers[i]), "bad_csv", detail, raw_line(lines.line(i)))


def _converted(cells: pa.Array, kind: ValueType) -> tuple[pa.Array, Bool, Bool]:
    """The values of cells, null where there is none, and which are of another kind or too big."""
    none = np.zeros(len(cells), np.bool_)
    if kind == "string":
        return cells, none, none
    if kind == "list":
        filled = pc.if_else(pc.equal(cells, ""), None, cells)
        return pc.split_pattern(filled, LIST_SEPARATOR), none, none
    if kind == "bool":
        index = pc.index_in(pc.utf8_lower(cells), value_set=_BOOLS)
        misfit = pc.and_(pc.is_null(index), pc.not_equal(cells, "")).fill_null(False)
        return pc.less(index, 2), misfit.to_numpy(zero_copy_only=False), none
    return _numbers(cells, kind)


def _numbers(cells: pa.Array, kind: ValueType) -> tuple[pa.Array, Bool, Bool]:
    is_int = kind == "int"
    plain = pc.match_substring_regex(cells, _PLAIN_INT if is_int else _PLAIN_FLOAT)
    plain = plain.fill_null(False)
    arrow = pc.if_else(plain, cells, "0").cast(PLAIN[kind])
    known = plain.to_numpy(zero_copy_only=False)
    misfit, beyond = np.zeros_like(known), np.zeros_like(known)
    if known.all():
        return arrow, misfit, beyond
    values, known = arrow.to_numpy().copy(), known.copy()
    others = ~known & cells.is_valid().to_numpy(zero_copy_only=False)
    for i in np.flatnonzero(others).tolist():
        try:
            number = _number(cells[i].as_py(), is_int)
        except ValueError:
            misfit[i] = True
            continue
        beyond[i] = is_int and number is not None and number not in INT64
        if number is not None and not beyond[i]:
            values[i], known[i] = number, True
    return pa.array(values, mask=~known), misfit, beyond


def _number(text: str, is_int: bool) -> int | float | None:
    """The number in a cell, None for a missing one. Raises ValueError if it is not a number."""
    if text == "" or (not is_int and text.lower() == "nan"):
        return None
    if not (_INT if is_int else _FLOAT).fullmatch(text):
        raise ValueError(text)
    return int(text) if is_int else float(text)
