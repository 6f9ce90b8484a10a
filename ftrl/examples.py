"""A batch of labelled examples as the kernels read it, checked once before they do."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.jit import F64, I8, I64, U8, U64, Bool

CORRECTION = 1  # of `kind`; 0 is a first label

# Beyond this no input can be meant; within it nothing overflows, not even in float32: a step
# changes a weight by α at most, and n stops growing long before 3e38.
LIMIT = 1e15


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
    learned from. place: int64, the row's place in the log, which tells its random roundings from
    others'. ts: int64, its event time, ms. bars: uint8 [nnz], the coordinates' thresholds of
    admission, or [0] where all have the same.
    """

    label: I8
    offset: F64
    omega: F64
    rate: F64
    kind: I8
    kept: Bool
    place: I64
    ts: I64
    bars: U8


def batch_of(indptr: I64, keys: U64, values: F64, rows: int) -> Batch:
    """The coordinates of `rows` rows, values brought into ±10^15; see `Batch`.

    Raises ValueError if they do not fit together, a key is 0, or a value is not finite.
    """
    if len(indptr) != rows + 1:
        raise ValueError(f"indptr has {len(indptr)} entries; {rows} rows need {rows + 1}")
    if indptr[0] < 0 or indptr[-1] > len(keys) or bool((np.diff(indptr) < 0).any()):
        raise ValueError(f"indptr must ascend within 0 and {len(keys)}, the number of keys")
    if len(values) not in (0, len(keys)):
        raise ValueError(f"{len(values)} values for {len(keys)} keys; give all of them or none")
    used = slice(indptr[0], indptr[-1])
    indptr, keys, values = indptr - indptr[0], keys[used], values[used]
    if not keys.all():
        raise ValueError("a key is 0, which no feature hashes to")
    if not np.isfinite(values).all():
        raise ValueError("a value is not a finite number")
    return Batch(read_only(indptr, np.int64), read_only(keys, np.uint64), _within(values))


def examples_of(
    label: I8,
    offset: F64,
    weight: F64,
    rate: F64 | None,
    kind: I8 | None,
    kept: Bool | None,
    place: I64 | None,
    ts: I64 | None,
    bars: U8,
) -> Examples:
    """What `Learner.learn` is told of each row, ω worked out; see there.

    bars: of the batch's coordinates.

    Raises ValueError if the columns differ in length or hold what they must not.
    """
    rows = len(label)
    rate = np.ones(rows) if rate is None else rate
    kind = np.zeros(rows, np.int8) if kind is None else kind
    kept = np.ones(rows, np.bool_) if kept is None else kept
    place = np.zeros(rows, np.int64) if place is None else place
    ts = np.zeros(rows, np.int64) if ts is None else ts
    for name, column, good in (
        ("label", label, (label == 0) | (label == 1)),
        ("offset", offset, np.isfinite(offset)),
        ("weight", weight, np.isfinite(weight) & (weight >= 0)),
        ("rate", rate, (rate > 0) & (rate <= 1)),
        ("kind", kind, (kind == 0) | (kind == CORRECTION)),
        ("kept", kept, np.ones(len(kept), np.bool_)),
        ("place", place, place >= 0),
        ("ts", ts, ts >= 0),
    ):
        if len(column) != rows:
            raise ValueError(f"{name} has {len(column)} entries for {rows} labels")
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(f"{name} of row {row} is {column[row]}, which it must not be")
    sampled = (label == 0) & (kind != CORRECTION)
    return Examples(
        read_only(label, np.int8),
        _within(offset),
        _within(np.where(sampled, weight / rate, weight)),
        read_only(rate, np.float64),
        read_only(kind, np.int8),
        read_only(kept, np.bool_),
        read_only(place, np.int64),
        read_only(ts, np.int64),
        bars,
    )


def bars_of(indptr: I64, keys: U64, bars: U8 | None) -> U8:
    """The thresholds of a batch's coordinates, uint8 [nnz], or [0] where there are none.

    Arguments as of `Learner.learn`. Raises ValueError if there are not as many as keys.
    """
    if bars is None or len(bars) == 0:
        return read_only(np.empty(0, np.uint8), np.uint8)
    if len(bars) != len(keys):
        raise ValueError(f"{len(bars)} bars for {len(keys)} keys; give all of them or none")
    return read_only(bars[indptr[0] : indptr[-1]], np.uint8)


def _within(array: F64) -> F64:
    """`array` with everything beyond ±`LIMIT` brought to it."""
    if np.abs(array).max(initial=0) > LIMIT:
        array = array.clip(-LIMIT, LIMIT)
    return read_only(array, np.float64)


def read_only(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`array` as contiguous and read-only, so that the kernels are compiled for one type only."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view
