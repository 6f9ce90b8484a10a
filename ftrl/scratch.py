"""Space for the rows that are worked on: their coordinates, and what is worked out of them."""

from typing import NamedTuple

import numpy as np

from ftrl.examples import Batch
from ftrl.table import Shift, Slots, home, name
from streams.jit import F64, I64, U64, inlined

BLOCK = 8  # rows looked up together: their slots' cache lines fit into 16 KiB
MARKS = 16  # for each coordinate of a row, so that few share one


class Scratch(NamedTuple):
    """Space for a block of rows, and for the one that is learned from.

    marks: int64, more than twice as many as a row has coordinates, a power of two; -1 at first.
    Of a block: ends (int64 [BLOCK], where each row's coordinates end), found (uint64, their
    keys), x (float64, their values), at (int64, their slots; ABSENT where there is none). Of a
    row: chosen, totals (int64), z, n, root (√n), w (float64), codes (uint64, of n as it is stored).
    """

    marks: I64
    ends: I64
    found: U64
    x: F64
    at: I64
    chosen: I64
    totals: I64
    z: F64
    n: F64
    root: F64
    w: F64
    codes: U64


def scratch_for(batch: Batch) -> Scratch:
    """Scratch space for the rows of `batch`."""
    longest = int(np.diff(batch.indptr).max(initial=0))
    marks = np.full(1 << (MARKS * longest).bit_length(), -1, np.int64)
    found = np.empty(BLOCK * longest, np.uint64)
    x, at = np.empty(BLOCK * longest), np.empty(BLOCK * longest, np.int64)
    chosen, totals = np.empty((2, longest), np.int64)
    z, n, root, w = np.empty((4, longest))
    ends = np.empty(BLOCK, np.int64)
    codes = np.empty(longest, np.uint64)
    return Scratch(marks, ends, found, x, at, chosen, totals, z, n, root, w, codes)


@inlined
def look_up(
    slots: Slots, shift: Shift, batch: Batch, row: int, s: Scratch, size: int
) -> tuple[int, int]:
    """Append a row's coordinates to the block's, the values of repeated keys summed.

    They go behind the `size` there are, in the order of their first occurrence, each with its home
    as its slot; if the home holds another key, their number goes to `chosen`. Returns the size
    then, and how many are not at home: counted without a branch, since nobody could foretell it.

    `marks` is a hash table from key to position in the batch; entries below the row's first are
    of earlier rows.
    """
    indptr, keys, values = batch
    marks, found, x, at, away = s.marks, s.found, s.x, s.at, s.chosen
    first, end = indptr[row], indptr[row + 1]
    last = np.uint64(len(marks) - 1)
    start = first - size
    moved = 0
    for i in range(first, end):
        key = keys[np.uint64(i)]
        value = values[np.uint64(i)] if len(values) else 1.0
        mark = key & last
        while marks[mark] >= first and found[np.uint64(marks[mark] - start)] != key:
            mark = (mark + np.uint64(1)) & last
        if marks[mark] >= first:
            x[np.uint64(marks[mark] - start)] += value
            continue
        marks[mark] = start + size
        first_slot, here = home(slots, shift, key), np.uint64(size)
        found[here] = key
        x[here] = value
        at[here] = np.int64(first_slot)
        away[np.uint64(moved)] = size
        moved += 1 if slots[first_slot]["key"] != name(shift, key) else 0
        size += 1
    return size, moved


@inlined
def close_up(s: Scratch, begin: int, end: int) -> int:
    """Keep those of the coordinates `begin` to `end` that have a slot; returns their new end."""
    found, x, at = s.found, s.x, s.at
    kept = begin
    for j in range(begin, end):
        found[kept], x[kept], at[kept] = found[j], x[j], at[j]
        kept += 1 if at[j] >= 0 else 0
    return kept
