"""The learner's table: 64-bit keys to (z, n), open addressing, nothing ever collides.

A slot holds its key, z and n side by side, so a coordinate costs one cache line. A key's
home is given by its highest bits, which keeps slots nearly in key order: growing, saving
and restoring walk memory forwards. Key 0 marks an empty slot; hashes are never 0.
"""

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from streams.jit import I64, U64, inlined, kernel

Slots = npt.NDArray[np.void]
Stored = npt.NDArray[Any]  # z or n as a layout has them

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
    # z is η·z in q2.13, n its code: see `ftrl.stored`.
    FIXED: np.dtype([("key", np.uint64), ("z", np.int16), ("n", np.uint16)]),
}
CACHE_LINE = 64
FIRST_CAPACITY = 64
ABSENT = -1
EMPTY = np.uint64(0)
ALL_TOUCHED = np.uint64(0xFFFFFFFFFFFFFFFF)


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


@kernel
def find(slots: Slots, shift: np.uint64, key: np.uint64) -> np.int64:
    """The slot that holds `key`, or `~slot` of the empty slot where it would go."""
    mask = len(slots) - 1
    slot = np.int64(key >> shift)
    while slots[slot]["key"] != key:
        if slots[slot]["key"] == EMPTY:
            return ~slot
        slot = (slot + 1) & mask
    return slot


@inlined
def find_again(slots: Slots, shift: np.uint64, keys: U64, at: I64, chosen: I64, size: int) -> int:
    """Put into `at` the slots of `keys[chosen[i]]`, i < `size`, or ABSENT where there is none.

    Keeps those at the front of `chosen`, and returns how many they are.
    """
    absent = 0
    for i in range(size):
        j = chosen[i]
        slot = find(slots, shift, keys[j])
        at[j] = slot if slot >= 0 else ABSENT
        chosen[absent] = j
        absent += 1 if at[j] < 0 else 0
    return absent


@kernel
def insert_all(slots: Slots, shift: np.uint64, entries: Slots) -> None:
    """Put every used slot of `entries`, with keys new to `slots`, into `slots`."""
    for i in range(len(entries)):
        if entries[i]["key"] != EMPTY:
            slots[~find(slots, shift, entries[i]["key"])] = entries[i]


def columns(slots: Slots) -> tuple[U64, Stored, Stored]:
    """The used slots' keys in ascending order, uint64, with their z and n as stored."""
    used = slots[slots["key"] != EMPTY]
    order = np.argsort(used["key"])
    return used["key"][order], used["z"][order], used["n"][order]


class Table:
    """The slots, and when there are to be more of them.

    layout: how z and n are stored, a name in `LAYOUTS`. max_features: the number of keys that
    will be asked for, at most. How many are used is the learner's to count.
    """

    def __init__(self, layout: str, max_features: int) -> None:
        self.dtype = LAYOUTS[layout]
        self.max_features = max_features
        self._largest = FIRST_CAPACITY
        while room(self._largest) < max_features:
            self._largest *= 2
        self.slots: Slots = aligned(FIRST_CAPACITY, self.dtype)
        self.touched: U64 = np.full(FIRST_CAPACITY // 64, ALL_TOUCHED)

    @property
    def room(self) -> int:
        """How many keys fit before the table must grow; never above `max_features`."""
        return min(room(len(self.slots)), self.max_features)

    @property
    def shift(self) -> np.uint64:
        """The right shift from a key to its home slot."""
        return home_shift(len(self.slots))

    def reserve(self, features: int) -> None:
        """Grow, if need be, until `features` keys fit or the table is at its largest."""
        capacity = len(self.slots)
        while room(capacity) < features and capacity < self._largest:
            capacity *= 2
        if capacity > len(self.slots):
            entries, self.slots = self.slots, aligned(capacity, self.dtype)
            self.touched = np.full(capacity // 64, ALL_TOUCHED)  # for every slot has moved
            insert_all(self.slots, self.shift, entries)

    def take_touched(self) -> U64:
        """A bit a slot, 64 a word: those stored to since the last call; all after it has grown."""
        taken, self.touched = self.touched, np.zeros_like(self.touched)
        return taken

    def load(self, keys: U64, z: Stored, n: Stored) -> None:
        """Take in what `columns` gave, of the same layout or both of floats; must be empty."""
        entries = np.empty(len(keys), self.dtype)
        entries["key"], entries["z"], entries["n"] = keys, z, n
        self.reserve(len(keys))
        insert_all(self.slots, self.shift, cast(Slots, entries))
