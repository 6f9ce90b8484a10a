"""The learner's table: from keys to (z, n), open addressing, a slot in one cache line.

In the floating layouts slots hold 64-bit keys, nothing ever collides, and the table grows
(`ftrl.table.growing`). A key's home is a cache line, given by its highest bits, which keeps slots
nearly in key order: growing, evicting, saving and restoring walk memory in one direction. The keys
of a line are compared at once; what overflows goes to the lines that follow.

Layout q2.13 is sized once. Its slots form groups of 512, a page of memory each. A key's high half
chooses the group, its low half is the tag that the slot holds, and the tag's highest bits are the
home within the group. What overflows never leaves the group. So group and tag are all there is to
know of a key, and whoever has them needs no key: of those that share both, the least one stands for
all.

An empty slot has key 0: hashes are never 0, and a tag of 0 becomes 1.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from streams.compute.arrays import I64, U8, U64, Ints
from streams.compute.intrinsics import CACHE_LINE, NOWHERE, a_line, in_line, prefetch
from streams.compute.jit import inlined, kernel

Slots = npt.NDArray[np.void]
Stored = npt.NDArray[Any]  # z or n as a layout has them


class Homes(NamedTuple):
    """Where keys live that are whole: at `key >> bits`, one bit further if it is below `unmoved`.

    That is a slot; its cache line is the home.

    bits: uint64, the shift to as many homes as there are slots. unmoved: uint64, 0 unless the
    table grows: the keys below it are still where they were in half as many slots.
    """

    bits: np.uint64
    unmoved: np.uint64


# None where slots are in groups. Numba compiles each of the two apart, so a kernel that asks
# `shift is None` pays nothing for it.
Shift: TypeAlias = Homes | None

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
ABSENT = -1
EMPTY = np.uint64(0)
GROUP = 512  # slots: at a load of 0.7 one in 10^15 groups overflows
GROUPS_A_MIB = 2**20 // (GROUP * LAYOUTS[FIXED].itemsize)
TAGS = 2.0**32

_IN_GROUP = np.int64(GROUP - 1)
_IN_LINE = np.uint64(CACHE_LINE // LAYOUTS[FIXED].itemsize - 1)
_GROUP_BITS = np.uint64(GROUP.bit_length() - 1)
_TAG_BITS = np.uint64(32)
_TO_HOME = _TAG_BITS - _GROUP_BITS
_TAG = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


def aligned(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`count` zeroed items of `dtype` that start at a cache line."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size].view(dtype)


def room(capacity: int) -> int:
    """How many of `capacity` slots may be used before probing grows long: two thirds."""
    return capacity * 2 // 3


def home_shift(capacity: int) -> np.uint64:
    """The right shift that takes a key to its home among `capacity` (a power of two) slots."""
    return np.uint64(65 - capacity.bit_length())


@inlined
def group_of(groups: int, key: np.uint64) -> np.uint64:
    """Which of the groups a key belongs to, from its high half."""
    return ((key >> _TAG_BITS) * np.uint64(groups)) >> _TAG_BITS


@inlined
def tag_of(key: np.uint64) -> np.uint64:
    """What tells a key from the others of its group, 1 to 2³² - 1: its low half."""
    return max(key & _TAG, _ONE)


@inlined
def home(slots: Slots, shift: Shift, key: np.uint64) -> np.uint64:
    """The first slot of the cache line where the search for a key begins."""
    if shift is None:
        group = group_of(len(slots) // GROUP, key)
        return (group << _GROUP_BITS) | (((key & _TAG) >> _TO_HOME) & ~_IN_LINE)
    slot = key >> (shift.bits + np.uint64(key < shift.unmoved))
    return slot & ~np.uint64(a_line(slots) - 1)


@inlined
def name(shift: Shift, key: np.uint64) -> np.uint64:
    """What a slot that is a key's holds as its key."""
    if shift is None:
        return tag_of(key)
    return key


@inlined
def at_home(slots: Slots, shift: Shift, key: np.uint64) -> tuple[np.int64, bool]:
    """The slot of a key that is in the cache line of its home, and whether it is."""
    slot = np.int64(home(slots, shift, key))
    step = in_line(slots, slot, name(shift, key))
    return slot + step, step < NOWHERE


@kernel
def find(slots: Slots, shift: Shift, key: np.uint64) -> np.int64:
    """The slot that holds `key`, or `~slot` of the empty slot where it would go.

    Searched a cache line at a time. In a group all of the home's line comes first.
    """
    sought = name(shift, key)
    slot = np.int64(home(slots, shift, key))
    while True:
        step = in_line(slots, slot, sought)
        if step < NOWHERE:
            return slot + step
        gap = in_line(slots, slot, EMPTY)
        if gap < NOWHERE:
            return ~(slot + gap)
        slot = following(slots, shift, slot, a_line(slots))


@kernel
def place_for(slots: Slots, shift: Shift, key: np.uint64) -> np.int64:
    """The slot that `key` is to have; ABSENT if its group has only one empty slot left.

    That one stays empty, for every search ends at one. Where slots are in groups it may be a key
    of the same row that has the slot already.
    """
    slot = find(slots, shift, key)
    if shift is None:
        if slot >= 0:
            return slot
        first, other = ~slot & ~_IN_GROUP, (~slot + 1) & _IN_GROUP
        while slots[first | other]["key"] != EMPTY:
            other = (other + 1) & _IN_GROUP
        return ~slot if first | other != ~slot else np.int64(ABSENT)
    return ~slot


@inlined
def announce_next(slots: Slots, shift: Shift, keys: U64, away: Ints, first: int, end: int) -> None:
    """Have loaded what comes after the homes of `keys[away[i]]` that are full, first ≤ i < end.

    These are in the caches already.
    """
    for i in range(first, end):
        slot = np.int64(home(slots, shift, keys[np.uint64(away[np.uint64(i)])]))
        # No branch: whether a line is full nobody could foretell.
        step = a_line(slots) if in_line(slots, slot, EMPTY) >= NOWHERE else 0
        prefetch(slots, following(slots, shift, slot, step))


@inlined
def following(slots: Slots, shift: Shift, slot: np.int64, step: int) -> np.int64:
    """The slot `step` further on; after the last of a group, or of all, comes the first."""
    if shift is None:
        return (slot & ~_IN_GROUP) | ((slot + step) & _IN_GROUP)
    return (slot + step) & (len(slots) - 1)


@inlined
def find_all(
    slots: Slots, shift: Shift, keys: U64, at: Ints, away: Ints, first: int, end: int, kept: int
) -> int:
    """Put into `at` the slots of `keys[away[i]]`, or ABSENT where there is none, first ≤ i < end.

    Keeps those in `away`, from `kept` ≤ `first` on, and returns where they end.
    """
    for i in range(first, end):
        j = np.uint64(away[np.uint64(i)])
        slot = find(slots, shift, keys[j])
        at[j] = slot if slot >= 0 else ABSENT
        away[np.uint64(kept)] = np.int64(j)
        kept += 1 if slot < 0 else 0
    return kept


@inlined
def clear(slots: Slots, slot: int | np.int64) -> None:
    """Empty a slot."""
    slots[slot]["key"] = 0
    slots[slot]["z"] = 0
    slots[slot]["n"] = 0


@kernel
def insert_all(slots: Slots, ages: U8, shift: Shift, keys: U64, entries: Slots, lasts: U8) -> None:
    """Put each of `entries`, all new to `slots`, into `slots`, and of `lasts` into `ages`.

    keys: uint64, theirs. ages: uint8 a slot, or [0]: then `lasts` is not asked for.
    """
    for i in range(len(entries)):
        slot = ~find(slots, shift, keys[i])
        slots[slot] = entries[i]
        if len(ages) > 0:
            ages[slot] = lasts[i]


def is_grouped(slots: Slots) -> bool:
    """Whether the slots are in groups."""
    return slots.dtype == LAYOUTS[FIXED]


@inlined
def least_key(groups: int, group: int, tag: np.uint64) -> np.uint64:
    """The least key of a group and a tag."""
    high = ((np.uint64(group) << _TAG_BITS) + np.uint64(groups - 1)) // np.uint64(groups)
    return high << _TAG_BITS | tag


def tags_of(keys: U64) -> U64:
    """The tag of each key; see `tag_of`."""
    tags: U64 = np.maximum(keys & _TAG, _ONE)
    return tags


def keys_of(groups: I64, tags: npt.NDArray[np.uint32], count: int) -> U64:
    """The least key of each group and tag, uint64; count: of all groups there are."""
    high = -(-(groups << 32) // count)
    return (high.astype(np.uint64) << _TAG_BITS) | tags


def columns(slots: Slots, ages: U8 = NO_AGES) -> tuple[U64, Stored, Stored, U8]:
    """The used slots' keys in ascending order, uint64, with their z, n and age as stored.

    Where slots are in groups, the least key of each group and tag. ages: uint8 a slot, or [0]:
    then no ages are returned either.
    """
    at = np.flatnonzero(slots["key"])
    used = slots[at]
    keys = used["key"]
    if is_grouped(slots):
        keys = keys_of(at // GROUP, keys, len(slots) // GROUP)
    order = np.argsort(keys)
    lasts = ages[at][order] if len(ages) else NO_AGES
    return keys[order], used["z"][order], used["n"][order], lasts
