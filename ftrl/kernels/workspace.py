"""Space for the rows that are worked on: their coordinates, and what is worked out of them."""

from typing import NamedTuple

import numpy as np

from ftrl.kernels.batch import Batch
from ftrl.table.layout import Shift, Slots, at_home
from streams.compute.arrays import F64, I64, U16, U64
from streams.compute.jit import inlined, kernel

BLOCK = 8  # rows looked up together: their slots' cache lines fit into 16 KiB
LANES = 8  # coordinates that the processor works on at once
MARKS = 2  # for each coordinate of a row, at least
STAMPS = 1 << 13
MOSTSTAMPED = np.uint64(64)  # coordinates of a row: of more, two would nearly always share a stamp

STAMPED = np.uint64(STAMPS - 1)
_OTHERS = np.uint64(STAMPS)  # where the stamps of other bits begin
_13 = np.uint64(13)


class Scratch(NamedTuple):
    """Space for a block of rows, and for the one that is learned from.

    stamps: uint16 [2 * 8192], see `is_suspect`. marks: int64, more than twice as many as a row has
    coordinates, a power of two; -1 at first.
    Of a block: ends, stops (int64 [BLOCK], where each row's coordinates end, and those of `away`),
    found (uint64, keys), x (float64, their values), at (int64, their slots; ABSENT where there is
    none), away (int64, which coordinates are not in the table). Of a row: chosen, totals (int64),
    z, n, root (√n), w (float64), codes (uint64, of n as it is stored). Arithmetic
    goes on to the end of a row's last LANES coordinates, for which there is space.
    """

    stamps: U16
    marks: I64
    ends: I64
    stops: I64
    found: U64
    x: F64
    at: I64
    away: I64
    chosen: I64
    totals: I64
    z: F64
    n: F64
    root: F64
    w: F64
    codes: U64


def scratch_for(batch: Batch) -> Scratch:
    """Scratch space for the rows of `batch`."""
    longest = int(_longest(batch.indptr))
    marks = np.full(1 << (MARKS * longest).bit_length(), -1, np.int64)
    found = np.zeros(BLOCK * longest + LANES, np.uint64)
    x, (at, away) = np.zeros(BLOCK * longest + LANES), np.empty((2, BLOCK * longest), np.int64)
    chosen, totals = np.empty((2, longest), np.int64)
    z, n, root, w = np.zeros((4, longest + LANES))
    ends, stops = np.empty((2, BLOCK), np.int64)
    codes = np.zeros(longest + LANES, np.uint64)
    return Scratch(
        np.zeros(2 * STAMPS, np.uint16),
        marks,
        ends,
        stops,
        found,
        x,
        at,
        away,
        chosen,
        totals,
        z,
        n,
        root,
        w,
        codes,
    )


@kernel
def _longest(indptr: I64) -> int:
    longest = 0
    for row in range(1, len(indptr)):
        longest = max(longest, indptr[row] - indptr[row - 1])
    return longest


@inlined
def in_lanes(size: int) -> int:
    """`size`, or the next multiple of LANES: one lane takes as long as all of them."""
    return (size + LANES - 1) & -LANES


@inlined
def empty_lanes(column: F64 | U64, size: int) -> None:
    """Put zeros behind the `size` items of a column, for whatever is worked out there."""
    for j in range(LANES):
        column[size + j] = 0


@inlined
def is_suspect(indptr: I64, keys: U64, row: int, stamps: U16) -> bool:
    """Whether a key may occur twice in a row: two keys share a stamp, twice. Few rows are."""
    first, end = np.uint64(indptr[row]), np.uint64(indptr[row + 1])
    stamp = np.uint16(row)
    suspect = np.uint64(end - first) > MOSTSTAMPED
    for i in range(first, end):
        at = keys[i] & STAMPED
        suspect |= stamps[at] == stamp
        stamps[at] = stamp
    return bool(suspect and is_still_suspect(keys, first, end, stamps, stamp))


@kernel
def is_still_suspect(
    keys: U64, first: np.uint64, end: np.uint64, stamps: U16, stamp: np.uint16
) -> bool:
    """Whether a key may occur twice in a row by other bits too, where by the lowest one may.

    Of rows of 30 these are 5%, and nearly none of them is one by both.
    """
    suspect = end - first > MOSTSTAMPED
    for i in range(first, end):
        at = ((keys[i] >> _13) & STAMPED) + _OTHERS
        suspect |= stamps[at] == stamp
        stamps[at] = stamp
    return bool(suspect)


@inlined
def gather(
    indptr: I64, keys: U64, values: F64, row: int, stamps: U16, marks: I64, found: U64, x: F64,
    size: int,
) -> int:  # fmt: skip
    """Append a row's coordinates to the block's; returns their number then.

    They go behind the `size` there are, in the order of their first occurrence, the values of
    repeated keys summed.
    """
    if is_suspect(indptr, keys, row, stamps):
        return coalesce(indptr, keys, values, row, marks, found, x, size)
    first, end = np.uint64(indptr[row]), np.uint64(indptr[row + 1])
    begin, length = np.uint64(size), np.uint64(end - first)
    for i in range(length):
        found[begin + i] = keys[first + i]
    if len(values):
        for i in range(length):
            x[begin + i] = values[first + i]
    else:
        for i in range(length):
            x[begin + i] = 1.0
    count: int = size + indptr[row + 1] - indptr[row]
    return count


@kernel
def coalesce(
    indptr: I64, keys: U64, values: F64, row: int, marks: I64, found: U64, x: F64, size: int
) -> int:
    """What `gather` does, of any row.

    `marks` is a hash table from key to position in the batch; entries below the row's first are
    of earlier rows.
    """
    first, end = indptr[row], indptr[row + 1]
    last = np.uint64(len(marks) - 1)
    begin = first - size
    for i in range(first, end):
        key = keys[np.uint64(i)]
        value = values[np.uint64(i)] if len(values) else 1.0
        mark = key & last
        while marks[mark] >= first and found[np.uint64(marks[mark] - begin)] != key:
            mark = (mark + np.uint64(1)) & last
        if marks[mark] >= first:
            x[np.uint64(marks[mark] - begin)] += value
        else:
            marks[mark] = begin + size
            found[np.uint64(size)] = key
            x[np.uint64(size)] = value
            size += 1
    return size


@inlined
def look_up(
    slots: Slots, shift: Shift, found: U64, at: I64, away: I64, begin: int, end: int, missing: int
) -> int:
    """Put the slots of the coordinates `begin` to `end` of a block into `at`.

    The `missing` entries of `away` get company where one is not in the cache line of its home: told
    without a branch, since nobody could foretell it. Returns how many there are then.
    """
    for j in range(np.uint64(begin), np.uint64(end)):
        slot, there = at_home(slots, shift, found[j])
        at[j] = slot
        away[np.uint64(missing)] = j
        missing += 0 if there else 1
    return missing


@inlined
def close_up(found: U64, x: F64, at: I64, first: int, end: int) -> int:
    """Keep those of the coordinates `first` to `end` that have a slot; returns their new end."""
    kept = first
    for j in range(np.uint64(first), np.uint64(end)):
        there = np.uint64(kept)
        found[there], x[there], at[there] = found[j], x[j], at[j]
        kept += 1 if at[j] >= 0 else 0
    return kept
