"""The learner's table: from keys to (z, n), open addressing, a slot in one cache line.

In the floating layouts slots hold 64-bit keys, nothing ever collides, and the table grows
(`ftrl.table.growing`). A key's home is a cache line, given by the key's highest bits, which keeps
slots nearly in key order: growing, evicting, saving and restoring walk memory in one direction. The
keys of a line are compared at once; a key whose home is full goes to the lines that follow.

Layout q2.13 is sized once. Its slots form buckets of 512, a page of memory each. A key's high half
chooses the bucket, its low half is the tag that the slot holds, and the tag's highest bits are the
home within the bucket. A key whose home is full never leaves the bucket. So bucket and tag are all
there is to know of a key: keys that share both are one feature, and the least of them stands for
all.

An empty slot has key 0: hashes are never 0, and a tag of 0 becomes 1.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from streams.compute.arrays import I64, U8, U64, Ints
from streams.compute.intrinsics import (
    CACHE_LINE,
    NOT_IN_LINE,
    find_in_line,
    prefetch,
    records_per_line,
)
from streams.compute.jit import inlined, kernel

Slots = npt.NDArray[np.void]
Stored = npt.NDArray[Any]  # z or n as a layout has them
Slot: TypeAlias = int | np.int64  # the number of a slot


class Homes(NamedTuple):
    """Where whole keys live: at slot `key >> shift`, one bit further for a key below `split`.

    The home of a key is that slot's cache line.

    shift: uint64, the right shift that gives as many homes as there are slots. split: uint64, the
    split pointer of a table that is being resized: the keys below it are still where they were in
    half as many slots; 0 otherwise.
    """

    shift: np.uint64
    split: np.uint64


# None where slots are in buckets. Numba compiles each of the two types apart, so a kernel that asks
# `homes is None` pays nothing for it.
MaybeHomes: TypeAlias = Homes | None


class TableArrays(NamedTuple):
    """The table as kernels take it.

    slots: records of a layout. touched: uint64, a bit a slot (`ftrl.table.touched`). ages: uint8 a
    slot, the epoch in which its key was last seen, modulo 256, or [0] where no feature expires.
    homes: where keys live.
    """

    slots: Slots
    touched: U64
    ages: U8
    homes: MaybeHomes


FIXED = "q2.13"
LAYOUTS = {
    "float32": np.dtype([("key", np.uint64), ("z", np.float32), ("n", np.float32)]),
    # Padded to 32 bytes: a slot of 24 would often straddle two cache lines.
    "float64": np.dtype(
        {
            "names": ["key", "z", "n"],
            "formats": [np.uint64, np.float64, np.float64],
            "offsets": [0, 8, 16],
            "itemsize": 32,
        }
    ),
    # key is the tag, z is η·z in q2.13, n its code: see `ftrl.kernels.slot_codec`.
    FIXED: np.dtype([("key", np.uint32), ("z", np.int16), ("n", np.uint16)]),
}
NO_AGES: U8 = np.empty(0, np.uint8)
ABSENT = -1  # in place of a slot's number: there is none
EMPTY = np.uint64(0)  # in place of a slot's key
BUCKET = 512  # slots: at a load of 0.7 one in 10^15 buckets overflows
BUCKETS_A_MIB = 2**20 // (BUCKET * LAYOUTS[FIXED].itemsize)
TAGS = 2.0**32

_IN_BUCKET = np.int64(BUCKET - 1)
_IN_LINE = np.uint64(CACHE_LINE // LAYOUTS[FIXED].itemsize - 1)
_BUCKET_BITS = np.uint64(BUCKET.bit_length() - 1)
_TAG_BITS = np.uint64(32)
_TO_HOME = _TAG_BITS - _BUCKET_BITS
_TAG = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


def room(capacity: int) -> int:
    """How many of `capacity` slots may be used before probing grows long: two thirds."""
    return capacity * 2 // 3


def home_shift(capacity: int) -> np.uint64:
    """The right shift that takes a key to its home among `capacity` (a power of two) slots."""
    return np.uint64(65 - capacity.bit_length())


@inlined
def bucket_of(buckets: int, key: np.uint64) -> np.uint64:
    """Which of the buckets a key belongs to, from its high half."""
    return ((key >> _TAG_BITS) * np.uint64(buckets)) >> _TAG_BITS


@inlined
def tag_of(key: np.uint64) -> np.uint64:
    """What tells a key from the others of its bucket, 1 to 2³² - 1: its low half."""
    return max(key & _TAG, _ONE)


@inlined
def home(slots: Slots, homes: MaybeHomes, key: np.uint64) -> np.uint64:
    """The first slot of the cache line where the search for a key begins."""
    if homes is None:
        bucket = bucket_of(len(slots) // BUCKET, key)
        return (bucket << _BUCKET_BITS) | (((key & _TAG) >> _TO_HOME) & ~_IN_LINE)
    slot = key >> (homes.shift + np.uint64(key < homes.split))
    return slot & ~np.uint64(records_per_line(slots) - 1)


@inlined
def stored_key(homes: MaybeHomes, key: np.uint64) -> np.uint64:
    """What the slot of a key holds as its key: the key, or its tag."""
    if homes is None:
        return tag_of(key)
    return key


@inlined
def find_at_home(slots: Slots, homes: MaybeHomes, key: np.uint64) -> tuple[np.int64, bool]:
    """The slot of a key that is in the cache line of its home, and whether it is."""
    slot = np.int64(home(slots, homes, key))
    step = find_in_line(slots, slot, stored_key(homes, key))
    return slot + step, step < NOT_IN_LINE


@kernel
def find(slots: Slots, homes: MaybeHomes, key: np.uint64) -> np.int64:
    """The slot that holds `key`, or `~slot` of the empty slot where it would go.

    A cache line is searched at a time; in a bucket the home's whole line comes first.
    """
    wanted = stored_key(homes, key)
    slot = np.int64(home(slots, homes, key))
    while True:
        step = find_in_line(slots, slot, wanted)
        if step < NOT_IN_LINE:
            return slot + step
        gap = find_in_line(slots, slot, EMPTY)
        if gap < NOT_IN_LINE:
            return ~(slot + gap)
        slot = next_slot(slots, homes, slot, records_per_line(slots))


@kernel
def slot_for(slots: Slots, homes: MaybeHomes, key: np.uint64) -> np.int64:
    """The slot that a new `key` is to have; ABSENT if its bucket has only one empty slot left.

    That slot stays empty, for every search ends at one. Where slots are in buckets, another key of
    the same row may have the slot already.
    """
    slot = find(slots, homes, key)
    if homes is None:
        if slot >= 0:
            return slot
        first, other = ~slot & ~_IN_BUCKET, (~slot + 1) & _IN_BUCKET
        while slots[first | other]["key"] != EMPTY:
            other = (other + 1) & _IN_BUCKET
        return ~slot if first | other != ~slot else np.int64(ABSENT)
    return ~slot


@inlined
def prefetch_next(
    slots: Slots, homes: MaybeHomes, keys: U64, missing: Ints, first: int, end: int
) -> None:
    """Load the line after each full home of the keys `keys[missing[i]]`, first ≤ i < end.

    The homes are in the caches already.
    """
    for i in range(first, end):
        slot = np.int64(home(slots, homes, keys[np.uint64(missing[np.uint64(i)])]))
        # No branch, for it could not be predicted whether a line is full.
        step = records_per_line(slots) if find_in_line(slots, slot, EMPTY) >= NOT_IN_LINE else 0
        prefetch(slots, next_slot(slots, homes, slot, step))


@inlined
def next_slot(slots: Slots, homes: MaybeHomes, slot: np.int64, step: int) -> np.int64:
    """The slot `step` further on; after the last of a bucket, or of all, comes the first."""
    if homes is None:
        return (slot & ~_IN_BUCKET) | ((slot + step) & _IN_BUCKET)
    return (slot + step) & (len(slots) - 1)


@inlined
def find_all(
    slots: Slots,
    homes: MaybeHomes,
    keys: U64,
    slot_of: Ints,
    missing: Ints,
    first: int,
    end: int,
    kept: int,
) -> int:
    """Look up the keys `keys[missing[i]]`, first ≤ i < end, and put their slots into `slot_of`.

    A key without a slot gets ABSENT there and stays in `missing`, which is compacted from `kept` ≤
    `first` on. Returns where the compacted entries end.
    """
    for i in range(first, end):
        j = np.uint64(missing[np.uint64(i)])
        slot = find(slots, homes, keys[j])
        slot_of[j] = slot if slot >= 0 else ABSENT
        missing[np.uint64(kept)] = np.int64(j)
        kept += 1 if slot < 0 else 0
    return kept


@inlined
def clear(slots: Slots, slot: Slot) -> None:
    """Empty a slot."""
    slots[slot]["key"] = 0
    slots[slot]["z"] = 0
    slots[slot]["n"] = 0


@kernel
def insert_all(
    slots: Slots, ages: U8, homes: MaybeHomes, keys: U64, entries: Slots, entry_ages: U8
) -> None:
    """Put each of `entries`, all new to `slots`, into `slots`, and of `entry_ages` into `ages`.

    keys: uint64, those of the entries. ages: uint8 a slot, or [0]; `entry_ages` is not read then.
    """
    for i in range(len(entries)):
        slot = ~find(slots, homes, keys[i])
        slots[slot] = entries[i]
        if len(ages) > 0:
            ages[slot] = entry_ages[i]


def is_bucketed(slots: Slots) -> bool:
    """Whether the slots are in buckets."""
    return slots.dtype == LAYOUTS[FIXED]


@inlined
def least_key(buckets: int, bucket: int, tag: np.uint64) -> np.uint64:
    """The least key of a bucket and a tag."""
    high = ((np.uint64(bucket) << _TAG_BITS) + np.uint64(buckets - 1)) // np.uint64(buckets)
    return high << _TAG_BITS | tag


def tags_of(keys: U64) -> U64:
    """The tag of each key; see `tag_of`."""
    tags: U64 = np.maximum(keys & _TAG, _ONE)
    return tags


def least_keys(buckets: int, bucket: I64, tags: npt.NDArray[np.uint32]) -> U64:
    """The least key, uint64, of each tag in its bucket (int64); buckets: how many there are."""
    high = -(-(bucket << 32) // buckets)
    return (high.astype(np.uint64) << _TAG_BITS) | tags


def columns(slots: Slots, ages: U8 = NO_AGES) -> tuple[U64, Stored, Stored, U8]:
    """The used slots' keys in ascending order, uint64, with their z, n and age as stored.

    Where slots are in buckets, a key is the least of its bucket and tag. ages: uint8 a slot, or
    [0]: then no ages are returned either.
    """
    used = np.flatnonzero(slots["key"])
    entries = slots[used]
    keys = entries["key"]
    if is_bucketed(slots):
        keys = least_keys(len(slots) // BUCKET, used // BUCKET, keys)
    order = np.argsort(keys)
    used_ages = ages[used][order] if len(ages) else NO_AGES
    return keys[order], entries["z"][order], entries["n"][order], used_ages
