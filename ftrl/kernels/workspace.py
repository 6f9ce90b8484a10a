"""Space for the rows that are worked on: their coordinates, and what is computed from them."""

from typing import NamedTuple

import numpy as np

from ftrl.kernels.batch import Batch
from ftrl.table.layout import MaybeHomes, Slots, find_at_home
from streams.compute.arrays import F64, I64, U16, U64
from streams.compute.jit import inlined, kernel

TILE = 8  # rows looked up together: their slots' cache lines fit into 16 KiB
LANES = 8  # coordinates that the processor works on at once
DEDUPE_ENTRIES = 2  # for each coordinate of a row, at least
FILTER_ENTRIES = 1 << 13
# Coordinates of a row, beyond which two would nearly always share an entry of the filter.
MOST_FILTERED = np.uint64(64)

FILTER_MASK = np.uint64(FILTER_ENTRIES - 1)
_SECOND_HALF = np.uint64(FILTER_ENTRIES)  # where the entries of other bits begin
_13 = np.uint64(13)


class Workspace(NamedTuple):
    """Space for a tile of rows, and for the row that is learned from.

    duplicate_filter: uint16 [2 * FILTER_ENTRIES], the number, modulo 2^16, of the last row that had
    a key with these bits; see `may_repeat`. dedupe_table: int64, a power of two of entries, more
    than twice as many as a row has coordinates, -1 at first; see `coalesce`.

    Of a tile: ends (int64 [TILE], where each row's coordinates end), missing_ends (int64 [TILE],
    where each row's entries of `missing` end), keys (uint64) and x (float64), the coordinates, slot
    (int64, of each, ABSENT where there is none), missing (int64, which coordinates are not in the
    table).

    Of a row: chosen, totals (int64, see `ftrl.admission.admission.Candidates`), z, n, root (√n), w
    (float64), codes (uint64, n as it is stored). Arithmetic goes on to the end of a row's last
    LANES coordinates, for which there is space.
    """

    duplicate_filter: U16
    dedupe_table: I64
    ends: I64
    missing_ends: I64
    keys: U64
    x: F64
    slot: I64
    missing: I64
    chosen: I64
    totals: I64
    z: F64
    n: F64
    root: F64
    w: F64
    codes: U64


def workspace_for(batch: Batch) -> Workspace:
    """Space for the rows of `batch`."""
    longest = int(_longest(batch.indptr))
    slot, missing = np.empty((2, TILE * longest), np.int64)
    chosen, totals = np.empty((2, longest), np.int64)
    z, n, root, w = np.zeros((4, longest + LANES))
    ends, missing_ends = np.empty((2, TILE), np.int64)
    return Workspace(
        duplicate_filter=np.zeros(2 * FILTER_ENTRIES, np.uint16),
        dedupe_table=np.full(1 << (DEDUPE_ENTRIES * longest).bit_length(), -1, np.int64),
        ends=ends,
        missing_ends=missing_ends,
        keys=np.zeros(TILE * longest + LANES, np.uint64),
        x=np.zeros(TILE * longest + LANES),
        slot=slot,
        missing=missing,
        chosen=chosen,
        totals=totals,
        z=z,
        n=n,
        root=root,
        w=w,
        codes=np.zeros(longest + LANES, np.uint64),
    )


@kernel
def _longest(indptr: I64) -> int:
    """The most coordinates of any row."""
    longest = 0
    for row in range(1, len(indptr)):
        longest = max(longest, indptr[row] - indptr[row - 1])
    return longest


@inlined
def in_lanes(size: int) -> int:
    """`size`, or the next multiple of LANES: one lane takes as long as all of them."""
    return (size + LANES - 1) & -LANES


@inlined
def clear_lanes(column: F64 | U64, size: int) -> None:
    """Put zeros behind the `size` items of a column, for the arithmetic that goes on there."""
    for j in range(LANES):
        column[size + j] = 0


@inlined
def may_repeat(indptr: I64, keys: U64, row: int, duplicate_filter: U16) -> bool:
    """Whether a key may occur twice in a row: two keys agree in the filter's bits, twice.

    Few rows have such keys.
    """
    first, end = np.uint64(indptr[row]), np.uint64(indptr[row + 1])
    stamp = np.uint16(row)
    repeats = np.uint64(end - first) > MOST_FILTERED
    for i in range(first, end):
        entry = keys[i] & FILTER_MASK
        repeats |= duplicate_filter[entry] == stamp
        duplicate_filter[entry] = stamp
    return bool(repeats and may_repeat_by_other_bits(keys, first, end, duplicate_filter, stamp))


@kernel
def may_repeat_by_other_bits(
    keys: U64, first: np.uint64, end: np.uint64, duplicate_filter: U16, stamp: np.uint16
) -> bool:
    """Whether a key may occur twice in a row by its next bits, where it may by the lowest ones.

    Of rows of 30 coordinates the lowest bits suspect 5%, and both nearly none.
    """
    repeats = end - first > MOST_FILTERED
    for i in range(first, end):
        entry = ((keys[i] >> _13) & FILTER_MASK) + _SECOND_HALF
        repeats |= duplicate_filter[entry] == stamp
        duplicate_filter[entry] = stamp
    return bool(repeats)


@inlined
def gather(batch: Batch, row: int, work: Workspace, size: int) -> int:
    """Append a row's coordinates to the tile's `size` ones; returns their number then.

    The coordinates stand in the order of their first occurrence, the values of repeated keys
    summed.
    """
    indptr, keys, values = batch.indptr, batch.keys, batch.values
    if may_repeat(indptr, keys, row, work.duplicate_filter):
        return coalesce(batch, row, work.dedupe_table, work.keys, work.x, size)
    first, end = np.uint64(indptr[row]), np.uint64(indptr[row + 1])
    begin, length = np.uint64(size), np.uint64(end - first)
    for i in range(length):
        work.keys[begin + i] = keys[first + i]
    if len(values):
        for i in range(length):
            work.x[begin + i] = values[first + i]
    else:
        for i in range(length):
            work.x[begin + i] = 1.0
    count: int = size + indptr[row + 1] - indptr[row]
    return count


@kernel
def coalesce(
    batch: Batch, row: int, dedupe_table: I64, tile_keys: U64, tile_x: F64, size: int
) -> int:
    """Append a row's coordinates as `gather` does, by a hash table of its keys.

    `dedupe_table` is a hash table from key to position in the batch; entries below the row's first
    are of earlier rows.
    """
    indptr, keys, values = batch.indptr, batch.keys, batch.values
    first, end = indptr[row], indptr[row + 1]
    mask = np.uint64(len(dedupe_table) - 1)
    begin = first - size
    for i in range(first, end):
        key = keys[np.uint64(i)]
        value = values[np.uint64(i)] if len(values) else 1.0
        entry = key & mask
        while (
            dedupe_table[entry] >= first
            and tile_keys[np.uint64(dedupe_table[entry] - begin)] != key
        ):
            entry = (entry + np.uint64(1)) & mask
        if dedupe_table[entry] >= first:
            tile_x[np.uint64(dedupe_table[entry] - begin)] += value
        else:
            dedupe_table[entry] = begin + size
            tile_keys[np.uint64(size)] = key
            tile_x[np.uint64(size)] = value
            size += 1
    return size


@inlined
def look_up(
    slots: Slots, homes: MaybeHomes, work: Workspace, begin: int, end: int, missing: int
) -> int:
    """Put the slots of the tile's coordinates `begin` to `end` into `work.slot`.

    A coordinate that is not in the cache line of its home is appended to the `missing` entries of
    `work.missing`, without a branch, for it could not be predicted. Returns how many entries there
    are then.
    """
    for j in range(np.uint64(begin), np.uint64(end)):
        slot, is_at_home = find_at_home(slots, homes, work.keys[j])
        work.slot[j] = slot
        work.missing[np.uint64(missing)] = j
        missing += 0 if is_at_home else 1
    return missing


@inlined
def drop_absent(work: Workspace, first: int, end: int) -> int:
    """Keep those of the coordinates `first` to `end` that have a slot; returns their new end."""
    keys, x, slots = work.keys, work.x, work.slot
    kept = first
    for j in range(np.uint64(first), np.uint64(end)):
        target = np.uint64(kept)
        keys[target], x[target], slots[target] = keys[j], x[j], slots[j]
        kept += 1 if slots[j] >= 0 else 0
    return kept
