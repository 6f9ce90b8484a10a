"""Space for one example: its coordinates, each key once, and what is worked out of them."""

from typing import NamedTuple

import numpy as np

from ftrl.examples import Batch
from streams.jit import F64, I64, U64, kernel

X, Z, N, ROOT, W = range(5)


class Scratch(NamedTuple):
    """Space for one example's coordinates.

    marks: int64, at least twice as many as coordinates, a power of two; -1 at first. keys:
    uint64. at, chosen, totals: int64. work: float64 [5, ...], its rows X (the value), Z, N,
    ROOT (√n) and W.
    """

    marks: I64
    keys: U64
    at: I64
    chosen: I64
    totals: I64
    work: F64


def scratch_for(batch: Batch) -> Scratch:
    """Scratch space for the rows of `batch`."""
    longest = int(np.diff(batch.indptr).max(initial=0))
    marks = np.full(1 << (2 * longest).bit_length(), -1, np.int64)
    at, chosen, totals = np.empty((3, longest), np.int64)
    return Scratch(marks, np.empty(longest, np.uint64), at, chosen, totals, np.empty((5, longest)))


@kernel
def coalesce(
    keys: U64, values: F64, first: int, end: int, marks: I64, found: U64, work: F64
) -> int:
    """Copy the coordinates `first` to `end` into scratch, the values of repeated keys summed.

    Returns how many they are then, in the order of their first occurrence. `marks` is a hash
    table from key to `first` plus its position; entries below `first` are of earlier rows.
    """
    mask = np.uint64(len(marks) - 1)
    size = 0
    for i in range(first, end):
        key = keys[i]
        value = values[i] if len(values) else 1.0
        mark = np.int64(key & mask)
        while marks[mark] >= first and found[marks[mark] - first] != key:
            mark = np.int64(np.uint64(mark + 1) & mask)
        if marks[mark] < first:
            marks[mark] = first + size
            found[size] = key
            work[X, size] = value
            size += 1
        else:
            work[X, marks[mark] - first] += value
    return size
