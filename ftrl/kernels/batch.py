"""A batch of labelled examples as the kernels read it, checked once before they do."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.compute.arrays import F64, I8, I64, U8, U64, Bool, read_only
from streams.compute.intrinsics import CACHE_LINE, prefetch
from streams.compute.jit import inlined, kernel
from streams.schema import Kind

FIRST, CORRECTION = int(Kind.FIRST), int(Kind.CORRECTION)  # as kernels compare them

# No input beyond can be meant. Within, nothing overflows, not even in float32: a step changes a
# weight by α at most, and n stops growing long before 3e38.
LIMIT = 1e15

IN_LINE = CACHE_LINE // 8  # numbers of 64 bits

_ARGUMENTS = {
    "omega": "weight"
}  # of `Learner.learn`, where a column of `Examples` has another name


class Batch(NamedTuple):
    """The coordinates of a batch: row i has the coordinates `indptr[i]` up to `indptr[i + 1]`.

    indptr: int64 [rows + 1]. keys: uint64 [nnz], never 0. values: float64 [nnz], or [0] where
    every value is 1.
    """

    indptr: I64
    keys: U64
    values: F64


class Examples(NamedTuple):
    """What is learned of each row.

    label: int8, 0 or 1. offset: float64, a logit added to the model's own. omega: float64, ω of
    a first label, ω₀ of a correction. rate: float64, r of a correction's first label. kind:
    int8, first label or correction. kept: bool, of a correction: whether its first label was
    learned from. place: int64, where in the log the row is, by which random roundings differ.
    ts: int64, event time, ms. thresholds: uint8 [nnz], the coordinates' thresholds of admission, or
    [0] where all have the same.
    """

    label: I8
    offset: F64
    omega: F64
    rate: F64
    kind: I8
    kept: Bool
    place: I64
    ts: I64
    thresholds: U8


def batch_of(indptr: I64, keys: U64, values: F64, rows: int) -> Batch:
    """The coordinates of `rows` rows, values brought into ±10^15; see `Batch`.

    Raises ValueError if the arrays do not fit together, a key is 0, or a value is not finite.
    """
    if len(indptr) != rows + 1:
        raise ValueError(f"indptr has {len(indptr)} entries; {rows} rows need {rows + 1}")
    indptr = read_only(indptr, np.int64)
    if indptr[0] < 0 or indptr[-1] > len(keys) or not _ascends(indptr):
        raise ValueError(f"indptr must ascend within 0 and {len(keys)}, the number of keys")
    if len(values) not in (0, len(keys)):
        raise ValueError(f"{len(values)} values for {len(keys)} keys; give all of them or none")
    used = slice(indptr[0], indptr[-1])
    keys, values = read_only(keys[used], np.uint64), values[used]
    if indptr[0] > 0:
        indptr = read_only(indptr - indptr[0], np.int64)
    refuse_zero(keys)
    if not np.isfinite(values).all():
        raise ValueError("a value is not a finite number")
    return Batch(indptr, keys, _clipped(values))


@kernel
def _ascends(indptr: I64) -> bool:
    falls = False
    for row in range(1, len(indptr)):
        falls |= indptr[row] < indptr[row - 1]
    return not falls


def refuse_zero(keys: U64) -> None:
    """Raise ValueError if a key is 0, which a table's empty slot has."""
    if keys.min(initial=1) == 0:  # faster than keys.all()
        raise ValueError("a key is 0, which no feature hashes to")


def examples_of(
    label: I8,
    offset: F64,
    weight: F64,
    rate: F64 | None,
    kind: I8 | None,
    kept: Bool | None,
    place: I64 | None,
    ts: I64 | None,
    thresholds: U8,
) -> Examples:
    """The columns that `Learner.learn` is given, checked, with ω in place of the weights.

    thresholds: of the batch's coordinates. Raises ValueError if the columns differ in length or
    hold values that they must not.
    """
    rows = len(label)
    columns = Examples(
        read_only(label, np.int8),
        read_only(offset, np.float64),
        read_only(weight, np.float64),
        _column_or(rate, 1, "float64", rows),
        _column_or(kind, FIRST, "int8", rows),
        _column_or(kept, 1, "bool", rows),
        _column_or(place, 0, "int64", rows),
        _column_or(ts, 0, "int64", rows),
        thresholds,
    )
    for name, column in columns._asdict().items():
        if name != "thresholds" and len(column) != rows:
            argument = _ARGUMENTS.get(name, name)
            raise ValueError(f"{argument} has {len(column)} entries for {rows} labels")
    omegas = np.empty(rows)
    wrong, beyond = _weigh(columns, omegas)
    if wrong:
        _refuse(columns)
    offsets = columns.offset.clip(-LIMIT, LIMIT) if beyond else columns.offset
    return columns._replace(
        offset=read_only(offsets, np.float64), omega=read_only(omegas, np.float64)
    )


def _column_or(
    column: npt.NDArray[Any] | None, default: int, dtype: str, rows: int
) -> npt.NDArray[Any]:
    """A column, or `default` for each of `rows` rows if there is none; read-only."""
    if column is None:
        return _defaults(default, dtype, 1 << rows.bit_length())[:rows]
    return read_only(column, dtype)


@lru_cache
def _defaults(value: int, dtype: str, rows: int) -> npt.NDArray[Any]:
    """A column of one value, kept: new memory each time would cost more than reading it does."""
    return read_only(np.full(rows, value, dtype), dtype)


@kernel
def _weigh(columns: Examples, omegas: F64) -> tuple[bool, bool]:
    """Compute ω, up to 10^15, from the weights that `columns` has in its place.

    Returns whether anything is wrong, and whether an offset is beyond ±10^15.
    """
    label, offset, weight, rate, kind, _, place, ts, _ = columns
    wrong = beyond = False
    for row in range(len(label)):
        sampled = label[row] == 0 and kind[row] != CORRECTION
        omega = weight[row] / rate[row] if sampled else weight[row]
        wrong |= (label[row] != 0) & (label[row] != 1) | (kind[row] != FIRST) & (
            kind[row] != CORRECTION
        )
        wrong |= (offset[row] - offset[row] != 0) | (weight[row] - weight[row] != 0)
        wrong |= (weight[row] < 0) | (place[row] < 0) | (ts[row] < 0)
        wrong |= not ((rate[row] > 0) & (rate[row] <= 1))
        beyond |= abs(offset[row]) > LIMIT
        omegas[row] = min(omega, LIMIT)
    return wrong, beyond


def _refuse(columns: Examples) -> None:
    """Raise ValueError for the first column that holds what it must not."""
    label, offset, weight, rate, kind, _, place, ts, _ = columns
    for name, column, good in (
        ("label", label, (label == 0) | (label == 1)),
        ("offset", offset, np.isfinite(offset)),
        ("weight", weight, np.isfinite(weight) & (weight >= 0)),
        ("rate", rate, (rate > 0) & (rate <= 1)),
        ("kind", kind, (kind == FIRST) | (kind == CORRECTION)),
        ("place", place, place >= 0),
        ("ts", ts, ts >= 0),
    ):
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(f"{name} of row {row} is {column[row]}, which it must not be")


@inlined
def prefetch_row(batch: Batch, examples: Examples, row: int) -> None:
    """Load the columns and coordinates of a row, which will soon be read; once for each row.

    All columns are read from front to back, but too much else is read in between for the processor
    to see that.
    """
    if row % IN_LINE == 0:
        prefetch(examples.label, row)
        prefetch(examples.offset, row)
        prefetch(examples.omega, row)
        prefetch(examples.rate, row)
        prefetch(examples.kind, row)
        prefetch(examples.kept, row)
        prefetch(examples.place, row)
        prefetch(examples.ts, row)
    for i in range(batch.indptr[row], batch.indptr[row + 1], IN_LINE):
        prefetch(batch.keys, i)
        if len(batch.values) > 0:
            prefetch(batch.values, i)


def thresholds_of(indptr: I64, keys: U64, thresholds: U8 | None) -> U8:
    """The thresholds of a batch's coordinates, uint8 [nnz], or [0] where there are none.

    Arguments as of `Learner.learn`. Raises ValueError if there are not as many as keys.
    """
    if thresholds is None or len(thresholds) == 0:
        return read_only(np.empty(0, np.uint8), np.uint8)
    if len(thresholds) != len(keys):
        raise ValueError(
            f"{len(thresholds)} thresholds for {len(keys)} keys; give all of them or none"
        )
    return read_only(thresholds[indptr[0] : indptr[-1]], np.uint8)


def _clipped(array: F64) -> F64:
    """`array` with everything beyond ±`LIMIT` brought to it."""
    if np.abs(array).max(initial=0) > LIMIT:
        array = array.clip(-LIMIT, LIMIT)
    return read_only(array, np.float64)
