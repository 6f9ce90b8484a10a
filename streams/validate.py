"""The values of records, checked column by column: the same for every file format.

A row with a bad value becomes a dead letter; the others become a batch between rooms.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.compute.arrays import I16, Bool
from streams.deadletter import DeadLetter, shown
from streams.record import BadRow, ColumnCheck, Origin, ParsedRows, RecordType, RowChunk
from streams.rules import TODAY
from streams.schema import CLICK, DEFAULTS, MAX_ID_BYTES

MAX_TS = 253_402_300_799_999  # the last millisecond of the year 9999

EXPECTED_TS = "a whole number of milliseconds since 1970, before the year 10000,"
_EXPECTED_ID = f"a string of 1 to {MAX_ID_BYTES} bytes"


def validate(
    parsed: ParsedRows,
    record: RecordType,
    origin: Origin,
    more: tuple[ColumnCheck, ...] = (),
    rule: int = TODAY.accept,
) -> RowChunk:
    """The rows whose values are all right, as a batch; dead letters for all other rows.

    origin: where the rows are from. more: further checks, made last.
    rule: the number of the rule `accept`.
    """
    all_checks = (*parsed.checks, *ACCEPT[rule](record, parsed.columns), *more)
    checks = [check for check in all_checks if check.bad.any()]
    batch = _batch(parsed, record, origin)
    bad: list[tuple[BadRow, str | None]] = [(row, None) for row in parsed.bad]
    if checks:
        first = _first_failed(checks)
        for i in np.flatnonzero(first >= 0).tolist():
            check = checks[first[i]]
            row = BadRow(int(parsed.rows[i]), check.reason, _detail(check, i), parsed.raw(i))
            bad.append((row, _click_type(record, parsed, i)))
        batch = batch.filter(pa.array(first < 0))
        bad.sort(key=lambda pair: pair[0].row)
    offsets, rows = origin.positions(np.array([row.row for row, _ in bad], np.int64))
    dead_letters = (
        DeadLetter(
            record.source, origin.name, offset, number, row.reason, row.detail, row.raw, click_type
        )
        for offset, number, (row, click_type) in zip(
            offsets.tolist(), rows.tolist(), bad, strict=True
        )
    )
    return RowChunk(batch, tuple(dead_letters))


def _checks(record: RecordType, columns: dict[str, pa.Array]) -> Iterator[ColumnCheck]:
    """The checks of a record's columns, the most telling first: a row gets one dead letter."""
    yield from _id_checks(columns["impression_id"])
    ts = columns["ts"]
    yield ColumnCheck("ts", "missing_ts", _nulls(ts), ts, EXPECTED_TS)
    yield _ts_check("ts", ts)
    if record.source == "clicks":
        yield _ts_check("impression_ts", columns["impression_ts"])
        yield _type_check(columns["type"], record.schema.click_types)
        return
    weight, served_p = _numbers(columns["weight"], 1.0), _numbers(columns["served_p"], 0.0)
    not_positive = ~((weight > 0.0) & np.isfinite(weight))
    not_probability = ~((served_p >= 0.0) & (served_p <= 1.0))
    yield _finite_check("offset", columns["offset"])
    yield ColumnCheck(
        "weight", "out_of_range", not_positive, columns["weight"], "a positive number"
    )
    yield ColumnCheck(
        "served_p", "out_of_range", not_probability, columns["served_p"], "a number from 0 to 1"
    )
    for field in record.fields:
        if field.type == "float":
            yield _finite_check(field.column, columns[field.column])
        if field.type == "list":
            yield _list_check(field.column, columns[field.column])


# By the number of the rule `accept`: what is to be checked of a record's columns.
ACCEPT: dict[int, Callable[[RecordType, dict[str, pa.Array]], Iterator[ColumnCheck]]] = {1: _checks}


def _id_checks(ids: pa.Array) -> Iterator[ColumnCheck]:
    size = _numbers(pc.binary_length(ids), 1)
    for reason, bad in (
        ("missing_id", _nulls(ids)),
        ("empty_id", size == 0),
        ("id_too_long", size > MAX_ID_BYTES),
    ):
        yield ColumnCheck("impression_id", reason, bad, ids, _EXPECTED_ID)


def _ts_check(column: str, values: pa.Array) -> ColumnCheck:
    ts = _numbers(values, 0)
    return ColumnCheck(column, "bad_ts", (ts < 0) | (ts > MAX_TS), values, EXPECTED_TS)


def _finite_check(column: str, values: pa.Array) -> ColumnCheck:
    infinite = ~np.isfinite(_numbers(values, 0.0))
    return ColumnCheck(column, "out_of_range", infinite, values, "a finite number")


def _type_check(types: pa.Array, declared: tuple[str, ...]) -> ColumnCheck:
    known = pc.is_in(types, value_set=pa.array([*declared, None], pa.string()))
    unknown = ~known.to_numpy(zero_copy_only=False)
    expected = "one of the declared click types (" + ", ".join(declared) + ")"
    return ColumnCheck("type", "unknown_click_type", unknown, types, expected)


def _list_check(column: str, lists: pa.Array) -> ColumnCheck:
    bad = np.zeros(len(lists), np.bool_)
    if lists.flatten().null_count:
        rows = pc.list_parent_indices(lists).to_numpy()
        bad[rows[_nulls(lists.flatten())]] = True
    return ColumnCheck(column, "wrong_type", bad, lists, "a list of strings")


def _first_failed(checks: list[ColumnCheck]) -> I16:
    """The index of the first check that each row fails; -1 if it passes all."""
    first = np.full(len(checks[0].bad), -1, np.int16)
    for k in reversed(range(len(checks))):
        first[checks[k].bad] = k
    return first


def _detail(check: ColumnCheck, i: int) -> str:
    value = check.values[i].as_py()
    parsed = "missing" if value is None else shown(value)
    return f"{check.column} is {parsed}; {check.expected} is expected"


def _click_type(record: RecordType, parsed: ParsedRows, i: int) -> str | None:
    if record.source == "impressions":
        return None
    name = parsed.columns["type"][i].as_py() or CLICK
    return name if name in record.schema.click_types else None


def _batch(parsed: ParsedRows, record: RecordType, origin: Origin) -> pa.RecordBatch:
    columns = dict(parsed.columns)
    columns["src_offset"], columns["src_row"] = map(pa.array, origin.positions(parsed.rows))
    if record.source == "impressions":
        for name, default in DEFAULTS.items():
            columns[name] = columns[name].fill_null(default)
    else:
        types = pa.array(record.schema.click_types, pa.string())
        index = pc.index_in(columns["type"], value_set=types)
        columns["type"] = index.fill_null(0).cast(pa.int8())  # no type means `click`, the first
    arrays = [columns[name] for name in record.arrow.names]
    return pa.RecordBatch.from_arrays(arrays, schema=record.arrow)


def _nulls(array: pa.Array) -> Bool:
    if array.null_count == 0:
        return np.zeros(len(array), np.bool_)
    nulls: Bool = array.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _numbers(array: pa.Array, default: float) -> Any:
    """The values of an array; nulls become `default`, which passes the checks."""
    return (array.fill_null(default) if array.null_count else array).to_numpy()
