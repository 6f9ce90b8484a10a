"""Reading Parquet: batches of columns, cast to the records' types where nothing is lost.

The features are a struct column `features`, or flat columns `features.<field>` or `<field>`.
Times may be whole milliseconds or timestamps (floored to milliseconds; no zone means UTC).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams.deadletter import raw_row
from streams.errors import DataError
from streams.jit import I64, Bool
from streams.lines import MAX_BLOCK_ROWS
from streams.record import FEATURES, TIMES, BadRow, Check, Found, Record, plain_type
from streams.schema import FEATURE_PREFIX, ValueType

_PAGE_BUFFER = 1 << 20  # bytes read ahead of a column; without it, whole columns are held


def read_parquet(
    path: Path,
    record: Record,
    *,
    block_rows: int = MAX_BLOCK_ROWS,
    after: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[Found]:
    """The records of a `.parquet` file after row `after`, at most `block_rows` at a time.

    Raises DataError if the file is unreadable, after all row groups before the damage, or if a
    column is missing or has a type that cannot be cast without loss.
    """
    try:
        with pq.ParquetFile(path, buffer_size=_PAGE_BUFFER) as file:
            layout = _layout(path, record, file.schema_arrow)
        with pq.ParquetFile(
            path,
            buffer_size=_PAGE_BUFFER,
            read_dictionary=layout.dictionaries,
            page_checksum_verification=True,
        ) as file:
            yield from _batches(path, file, layout, block_rows, after, advance)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: cannot be read as Parquet ({reason}). Check its rights, or make or fetch "
            "the file again."
        ) from error


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which columns of a file hold the record's.

    columns: the file's column by the record's; a dotted name may be a member of the struct
    column `features`, if that is in `members`. dictionaries: those read as dictionaries.
    """

    record: Record
    columns: dict[str, str]
    members: frozenset[str]
    dictionaries: list[str]


def _layout(path: Path, record: Record, schema: pa.Schema) -> _Layout:
    types = {field.name: field.type for field in schema}
    members = {}
    if FEATURES in types and pa.types.is_struct(types[FEATURES]):
        members = {FEATURE_PREFIX + member.name: member.type for member in types[FEATURES]}
        members = {name: found for name, found in members.items() if name not in types}
    columns = record.located(path, [*schema.names, *members])
    types |= members
    for name, column in columns.items():
        expected = _expected(types[column], name, record.kinds[name], name in record.own)
        if expected is not None:
            raise DataError(
                f"{path}: column {column} is {types[column]}; {expected} is expected. Cast it "
                "when the file is written, or correct the settings."
            )
    dictionaries = [
        column
        for name, column in columns.items()
        if record.kinds[name] == "string"
        and name not in record.own
        and pa.types.is_string(types[column])
        # Not inside a struct: pyarrow cannot read one there whose dictionary changes on the way.
        and column not in members
    ]
    return _Layout(record, columns, frozenset(members), dictionaries)


def _expected(found: pa.DataType, name: str, kind: ValueType, own: bool) -> str | None:
    """What the type of a column should be; None if `found` will do."""
    is_ = pa.types
    small = is_.is_signed_integer(found) or found in (pa.uint8(), pa.uint16(), pa.uint32())
    value = found.value_type if is_.is_dictionary(found) or _is_list(found) else found
    match kind:
        case _ if is_.is_null(found):
            return None
        case "string":
            text = _is_text(value) and not _is_list(found)
            fits, expected = text or (not own and is_.is_integer(found)), "string"
        case "int":
            fits, expected = small, "int64"
            if name in TIMES:
                fits, expected = fits or is_.is_timestamp(found), "int64 or timestamp"
        case "float":
            number = is_.is_floating(found) or is_.is_integer(found) or is_.is_decimal(found)
            fits, expected = number, "double"
        case "bool":
            fits, expected = is_.is_boolean(found), "bool"
        case "list":
            fits, expected = _is_list(found) and _is_text(value), "list of string"
    return None if fits else expected


def _is_text(found: pa.DataType) -> bool:
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found))


def _is_list(found: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_list(found) or is_.is_large_list(found) or is_.is_fixed_size_list(found))


def _batches(
    path: Path,
    file: pq.ParquetFile,
    layout: _Layout,
    block_rows: int,
    after: int,
    advance: Callable[[int], None],
) -> Iterator[Found]:
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    row = group = 0
    while group < len(groups) and row + groups[group] <= after:
        row += groups[group]
        group += 1
    size, done = path.stat().st_size, 0
    for batch in _blocks(file, sorted(set(layout.columns.values())), group, groups, block_rows):
        skip = min(max(after - row, 0), len(batch))
        numbers = np.arange(row + skip + 1, row + len(batch) + 1)
        row += len(batch)
        advance(size * row // file.metadata.num_rows - done)
        done = size * row // file.metadata.num_rows
        if len(numbers):
            yield _found(layout, batch.slice(skip), numbers)


def _blocks(
    file: pq.ParquetFile, columns: list[str], group: int, groups: list[int], rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of the row groups from `group` on, of which `groups` has the sizes.

    Raises what pyarrow does, after all groups before the damaged one.
    """

    def read(some: range) -> Iterator[pa.RecordBatch]:
        yield from file.iter_batches(
            batch_size=rows, row_groups=some, columns=columns, use_threads=False
        )

    for run in _runs(group, groups, rows):
        done = 0
        try:
            for batch in read(run):
                done += len(batch)
                yield batch
        except (pa.ArrowException, OSError):
            # A batch may span groups, and then the damaged one takes the others along.
            for one in run:
                for batch in read(range(one, one + 1)):
                    if done < len(batch):
                        yield batch.slice(done)
                    done = max(done - len(batch), 0)
            raise


def _runs(group: int, groups: list[int], rows: int) -> Iterator[range]:
    """The row groups from `group` on, as many at a time as hold `rows`, but at least one.

    pyarrow's memory grows with the number of groups that one iterator reads.
    """
    while group < len(groups):
        end, held = group + 1, groups[group]
        while end < len(groups) and held + groups[end] <= rows:
            held += groups[end]
            end += 1
        yield range(group, end)
        group = end


def _found(layout: _Layout, batch: pa.RecordBatch, numbers: I64) -> Found:
    bad: list[BadRow] = []
    fresh = not _is_utf8(batch)
    if fresh:
        broken = np.logical_or.reduce([_not_utf8(column) for column in batch.columns])
        detail = "a string of the row is not UTF-8; UTF-8 is expected"
        bad = [BadRow(int(row), "invalid_utf8", detail, None) for row in numbers[broken]]
        batch, numbers = batch.filter(pa.array(~broken)), numbers[~broken]
    columns, checks = _columns(layout, batch, fresh)
    return Found(columns, numbers, checks, tuple(bad), lambda i: raw_row(batch, i))


def _columns(
    layout: _Layout, batch: pa.RecordBatch, fresh: bool
) -> tuple[dict[str, pa.Array], tuple[Check, ...]]:
    """The record's columns; fresh: make new dictionaries, for the old ones are not to be used."""
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    checks: tuple[Check, ...] = ()
    if layout.members & set(layout.columns.values()):
        struct = arrays[FEATURES]
        missing = struct.is_null().to_numpy(zero_copy_only=False)
        checks = (Check(FEATURES, "missing_features", missing, struct, "an object"),)
        names = [FEATURE_PREFIX + member.name for member in struct.type]
        arrays |= dict(zip(names, struct.flatten(), strict=True))
    record = layout.record
    columns: dict[str, pa.Array] = {}
    for name, kind in record.kinds.items():
        if name not in layout.columns:
            columns[name] = pa.nulls(len(batch), plain_type(kind))
        elif kind == "string" and name not in record.own:
            columns[name] = _encoded(arrays[layout.columns[name]], fresh)
        else:
            columns[name] = _cast(arrays[layout.columns[name]], kind)
    return columns, checks


def _encoded(array: pa.Array, fresh: bool) -> pa.Array:
    target = pa.dictionary(pa.int32(), pa.string())
    # A dictionary page serves many batches; what a batch costs must depend on its own rows.
    if array.type == target and not fresh and len(array.dictionary) <= len(array):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string()).dictionary_encode()


def _cast(array: pa.Array, kind: ValueType) -> pa.Array:
    if pa.types.is_timestamp(array.type):
        array = pc.floor_temporal(array, unit="millisecond")
        return array.cast(pa.timestamp("ms", array.type.tz)).cast(pa.int64())
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    # Integers beyond 2^53 become the nearest number, as they do when read from JSON.
    array = array.cast(plain_type(kind), safe=kind != "float")
    if kind == "float":
        nan = pc.is_nan(array)
        if nan.true_count:
            return pc.if_else(nan, None, array)
    return array


def _is_utf8(batch: pa.RecordBatch) -> bool:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _not_utf8(array: pa.Array) -> Bool:
    """The rows of any column that hold a string which is not UTF-8."""
    bad = np.zeros(len(array), np.bool_)
    if pa.types.is_struct(array.type):
        for member in array.flatten():
            bad |= _not_utf8(member)
    elif pa.types.is_dictionary(array.type):
        broken = _not_utf8(array.dictionary)
        used = array.is_valid().to_numpy(zero_copy_only=False)
        bad[used] = broken[array.indices.drop_null().to_numpy()]
    elif _is_list(array.type):
        bad[pc.list_parent_indices(array).to_numpy()[_not_utf8(pc.list_flatten(array))]] = True
    elif _is_text(array.type):
        for i, value in enumerate(array.cast(pa.large_binary()).to_pylist()):
            bad[i] = value is not None and not _decodes(value)
    return bad


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
