"""Reading NDJSON: blocks of whole lines through pyarrow's reader.

pyarrow decides whether a line is a record. It decides the same about a line alone and about the
line in a block, so the outcome of a line never depends on its neighbours. pyarrow also accepts two
objects on a line, one object over two lines, and NaN; this module checks for these. Asking pyarrow
about a single line is slow, so it is not asked where `json_fault` finds a fault that pyarrow is
known to refuse.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from streams.compute.arrays import I64
from streams.deadletter import raw_line
from streams.formats.bad_row_search import split_bad_rows
from streams.formats.duplicate_keys import duplicated
from streams.formats.json_faults import INT64, JSON_WHITESPACE, Fault, json_fault, unexplained_fault
from streams.formats.lines import Lines, read_lines
from streams.formats.options import DEFAULT, ReadOptions
from streams.record import FEATURES, BadRow, ColumnCheck, ParsedRows, RecordType
from streams.schema import PLAIN, ValueType

_BLANKS = JSON_WHITESPACE.encode()


def read_ndjson(
    path: Path, record: RecordType, options: ReadOptions = DEFAULT
) -> Iterator[ParsedRows]:
    """The records of a `.ndjson` or `.ndjson.gz` file, a block at a time.

    Members that are not declared are ignored. Raises DataError as `read_lines` does.
    """
    parser = JsonParser(record)
    for lines in read_lines(path, options):
        yield parser.parse(lines)


class JsonParser:
    """Makes columns of lines that hold one JSON object each."""

    def __init__(self, record: RecordType) -> None:
        self._record = record
        self._options = pj.ParseOptions(
            explicit_schema=_json_schema(record), unexpected_field_behavior="ignore"
        )
        self._decoder = msgspec.json.Decoder(_struct(record))
        self._expect_bad = False
        self._expect_duplicates = False

    def parse(self, lines: Lines) -> ParsedRows:
        """The columns of the good lines, and the bad ones with their reasons."""
        index, shapeless = _shaped(lines)
        faults = {i: self._fault(lines, i) for i in shapeless}
        table = None if self._expect_bad else self.table(lines, index)
        if table is None:
            table, index, bad = self._repaired(lines, index)
            # Where one block holds bad lines the next block likely does: looking for them first
            # then saves an attempt that would fail.
            self._expect_bad = bool(bad)
            self._expect_duplicates = any(reason == "duplicate_key" for reason, _ in bad.values())
            faults |= bad
        rows = [
            BadRow(int(lines.numbers[i]), *fault, raw_line(lines.line(i)))
            for i, fault in faults.items()
        ]
        return ParsedRows(
            columns=self._columns(table),
            rows=lines.numbers[index],
            checks=self._checks(table),
            bad=tuple(sorted([*lines.bad, *rows], key=lambda row: row.row)),
            raw=lambda i: raw_line(lines.line(int(index[i]))),
        )

    def table(self, lines: Lines, index: I64) -> pa.Table | None:
        """The lines as a table; None if any of them is not exactly one record."""
        if len(index) == 0:
            return self._options.explicit_schema.empty_table()
        data = lines.joined(index)
        try:
            table = pj.read_json(
                pa.BufferReader(data),
                read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
                parse_options=self._options,
            )
        except pa.ArrowException:
            return None
        # A line that begins with { and ends with } holds at least one whole object: no JSON
        # text has } and { side by side inside it. So equal counts mean one object a line.
        if table.num_rows != len(index) or not _all_finite(table):
            return None
        return table

    def _repaired(self, lines: Lines, index: I64) -> tuple[pa.Table, I64, dict[int, Fault]]:
        """The table of the good lines, their indices, and the others' faults."""
        faults: dict[int, Fault] = {}

        def read(part: I64) -> pa.Table | None:
            if len(part) == 1:
                fault = json_fault(lines.line(part[0]), self._record)
                if fault is not None:
                    faults[int(part[0])] = fault
                    return None
            return self.table(lines, part)

        undecodable = partial(self._undecodable, lines, index)
        duplicates = partial(_duplicates, lines, index)
        guesses: list[Callable[[], list[int]]] = [undecodable, duplicates]
        if self._expect_duplicates:
            guesses = [lambda: [*undecodable(), *duplicates()]]
        blocks, bad = split_bad_rows(index, read, guesses)
        for i in bad:
            faults.setdefault(i, unexplained_fault(self._record))
        tables = [table for _, table in blocks] or [self._options.explicit_schema.empty_table()]
        return pa.concat_tables(tables), np.setdiff1d(index, bad, assume_unique=True), faults

    def _undecodable(self, lines: Lines, index: I64) -> list[int]:
        """The lines that msgspec refuses: nearly always those that pyarrow does."""
        refused = []
        decode = self._decoder.decode
        for i, line in zip(index.tolist(), lines.select(index), strict=True):
            try:
                decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                refused.append(i)
        return refused

    def _fault(self, lines: Lines, i: int) -> Fault:
        return json_fault(lines.line(i), self._record) or unexplained_fault(self._record)

    def _columns(self, table: pa.Table) -> dict[str, pa.Array]:
        columns = {name: _one_array(table.column(name)) for name in self._record.members}
        if self._record.fields:
            # `flatten` makes the members of a null object null.
            members = _one_array(table.column(FEATURES)).flatten()
            for field, member in zip(self._record.fields, members, strict=True):
                string = field.type == "string"
                columns[field.column] = member.dictionary_encode() if string else member
        return columns

    def _checks(self, table: pa.Table) -> tuple[ColumnCheck, ...]:
        if self._record.source == "clicks" or table.column(FEATURES).null_count == 0:
            return ()
        features = _one_array(table.column(FEATURES))
        missing = features.is_null().to_numpy(zero_copy_only=False)
        return (ColumnCheck(FEATURES, "missing_features", missing, features, "an object"),)


def _shaped(lines: Lines) -> tuple[I64, list[int]]:
    """The indices of the lines that begin with { and end with }, and of the others."""
    text = np.frombuffer(lines.data, np.uint8)
    bare = (text[lines.starts] == ord("{")) & (text[lines.ends - 1] == ord("}"))
    if not bare.all():
        for i in np.flatnonzero(~bare).tolist():
            line = lines.line(i).strip(_BLANKS)
            bare[i] = line.startswith(b"{") and line.endswith(b"}")
    return np.flatnonzero(bare), np.flatnonzero(~bare).tolist()


def _duplicates(lines: Lines, index: I64) -> list[int]:
    """The lines that may give a member twice; msgspec does not refuse these."""
    text = np.frombuffer(lines.data, np.uint8)
    suspects: list[int] = index[duplicated(text, lines.starts[index], lines.ends[index])].tolist()
    return suspects


def _all_finite(table: pa.Table) -> bool:
    """Whether no number is NaN or infinite, which pyarrow reads but JSON does not have."""
    for column in table.flatten().itercolumns():
        if pa.types.is_floating(column.type) and column.null_count < len(column):
            finite = pc.is_finite(column)
            if not all(chunk.false_count == 0 for chunk in finite.chunks):
                return False
    return True


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _json_schema(record: RecordType) -> pa.Schema:
    columns = [(name, PLAIN[kind]) for name, kind in record.members.items()]
    if record.source == "impressions":
        fields = [(field.name, PLAIN[field.type]) for field in record.fields]
        columns.append((FEATURES, pa.struct(fields)))
    return pa.schema(columns)


_Int64 = Annotated[int, msgspec.Meta(ge=INT64[0], le=INT64[-1])]
_DECODED: dict[ValueType, Any] = {
    "string": str | None,
    "int": _Int64 | None,
    "float": float | None,
    "bool": bool | None,
    "list": list[str | None] | None,
}


def _struct(record: RecordType) -> type[msgspec.Struct]:
    """A type that msgspec decodes about the same lines as that pyarrow reads."""
    members: dict[str, Any] = {name: _DECODED[kind] for name, kind in record.members.items()}
    if record.source == "impressions":
        fields = {field.name: _DECODED[field.type] for field in record.fields}
        members[FEATURES] = _defined("Features", fields) | None
    return _defined(record.source, members)


def _defined(name: str, members: dict[str, Any]) -> type[msgspec.Struct]:
    # Members may have names that Python does not allow: they are renamed to m0, m1, ...
    return msgspec.defstruct(
        name,
        [(f"m{i}", kind, None) for i, kind in enumerate(members.values())],
        rename={f"m{i}": member for i, member in enumerate(members)},
        gc=False,
    )
