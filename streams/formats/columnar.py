"""Records in Arrow columns, from Parquet or from a message: cast where nothing is lost.

The features are a struct column `features`, or flat columns `features.<field>` or `<field>`.
Times may be whole milliseconds or timestamps (floored to milliseconds; no zone means UTC).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.compute.arrays import I64, Bool
from streams.compute.floats import float64
from streams.deadletter import raw_row
from streams.errors import DataError
from streams.record import FEATURES, TIMES, BadRow, ColumnCheck, ParsedRows, RecordType
from streams.schema import FEATURE_PREFIX, PLAIN, ValueType


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a file or message hold the record's columns.

    columns: the name of the column that holds each of the record's columns, by the record's name; a
    dotted name is a member of the struct column `features` if it is in `members`. types: the Arrow
    types of the columns, by name.
    """

    record: RecordType
    columns: dict[str, str]
    members: frozenset[str]
    types: dict[str, pa.DataType]

    @property
    def needed(self) -> list[str]:
        """The names of the columns that hold anything of the record."""
        top = {FEATURES if name in self.members else name for name in self.columns.values()}
        return sorted(top)


def layout_of(
    where: Path | str, record: RecordType, schema: pa.Schema, *, partial: bool = False
) -> Layout:
    """How the columns of a file or message with this schema hold records. where: for errors.

    Raises DataError if a required column or a field is missing (partial: all fields), or if
    one has a type that cannot be cast without loss.
    """
    if schema.names.count(FEATURES) > 1:
        raise DataError(f"{where}: two columns are called {FEATURES}. Rename one of them.")
    types = {field.name: field.type for field in schema}
    members = {}
    if FEATURES in types and pa.types.is_struct(types[FEATURES]):
        members = {FEATURE_PREFIX + member.name: member.type for member in types[FEATURES]}
        members = {name: found for name, found in members.items() if name not in types}
    columns = record.locate_columns(where, [*schema.names, *members], partial=partial)
    written = where if isinstance(where, str) else "the file"
    types |= members
    for name, column in columns.items():
        expected = _expected(types[column], name, record.column_types[name], name in record.members)
        if expected is not None:
            raise DataError(
                f"{where}: column {column} is {types[column]}; {expected} is expected. Cast it "
                f"when {written} is written, or correct the settings."
            )
    return Layout(record, columns, frozenset(members), types)


def parse_columns(layout: Layout, batch: pa.RecordBatch, numbers: I64) -> ParsedRows:
    """The records of a batch; its rows have these numbers (int64 [rows])."""
    bad: list[BadRow] = []
    fresh = not is_valid(batch)
    if fresh:
        broken = np.logical_or.reduce([_not_utf8(column) for column in batch.columns])
        detail = "a string of the row is not UTF-8; UTF-8 is expected"
        bad = [BadRow(int(row), "invalid_utf8", detail, None) for row in numbers[broken]]
        batch, numbers = batch.filter(pa.array(~broken)), numbers[~broken]
    columns, checks = _columns(layout, batch, fresh)
    return ParsedRows(columns, numbers, checks, tuple(bad), lambda i: raw_row(batch, i))


def is_valid(batch: pa.RecordBatch) -> bool:
    """Whether Arrow finds nothing wrong with its buffers, UTF-8 included."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _expected(found: pa.DataType, name: str, kind: ValueType, is_member: bool) -> str | None:
    """What the type of a column should be; None if `found` will do."""
    is_ = pa.types
    value = found.value_type if is_.is_dictionary(found) else found
    small = is_.is_signed_integer(value) or value in (pa.uint8(), pa.uint16(), pa.uint32())
    match kind:
        case _ if is_.is_null(value):
            return None
        case "string":
            fits, expected = _is_text(value) or (not is_member and is_.is_integer(value)), "string"
        case "int":
            fits, expected = small, "int64"
            if name in TIMES:
                fits, expected = fits or is_.is_timestamp(found), "int64 or timestamp"
        case "float":
            number = is_.is_floating(value) or is_.is_integer(value) or is_.is_decimal(value)
            fits, expected = number, "double"
        case "bool":
            fits, expected = is_.is_boolean(value), "bool"
        case "list":
            fits, expected = _is_list(found) and _is_text(found.value_type), "list of string"
    return None if fits else expected


def _is_text(found: pa.DataType) -> bool:
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found))


def _is_list(found: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_list(found) or is_.is_large_list(found) or is_.is_fixed_size_list(found))


def _columns(
    layout: Layout, batch: pa.RecordBatch, fresh: bool
) -> tuple[dict[str, pa.Array], tuple[ColumnCheck, ...]]:
    """The record's columns. fresh: make new dictionaries, as the batch's own may be damaged."""
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    checks: tuple[ColumnCheck, ...] = ()
    if layout.members & set(layout.columns.values()):
        struct = arrays[FEATURES]
        missing = struct.is_null().to_numpy(zero_copy_only=False)
        checks = (ColumnCheck(FEATURES, "missing_features", missing, struct, "an object"),)
        names = [FEATURE_PREFIX + member.name for member in struct.type]
        arrays |= dict(zip(names, struct.flatten(), strict=True))
    record = layout.record
    columns: dict[str, pa.Array] = {}
    for name, kind in record.column_types.items():
        column = layout.columns.get(name)
        array = pa.nulls(len(batch)) if column is None else arrays[column]
        if kind == "string" and name not in record.members:
            columns[name] = _encoded(array, fresh)
        else:
            columns[name] = _cast(array, kind)
    return columns, checks


def _encoded(array: pa.Array, fresh: bool) -> pa.Array:
    target = pa.dictionary(pa.int32(), pa.string())
    # A dictionary page serves many batches; what a batch costs must depend on its own rows.
    small = array.type == target and len(array.dictionary) <= len(array)
    # A null may also stand in the dictionary, where it would count as a value.
    if small and not fresh and array.dictionary.null_count == 0:
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
    if kind != "float" or pa.types.is_null(array.type):
        return array.cast(PLAIN[kind])
    array = float64(array)
    nan = pc.is_nan(array)
    return pc.if_else(nan, None, array) if nan.true_count else array


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
