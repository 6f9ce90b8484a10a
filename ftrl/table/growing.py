"""The slots in memory, and how they become more: in place, a few at a time, the highest keys first.

Address space for the largest table is reserved at the start; the system gives memory to what is
written to. So a table of C slots becomes one of 2C where it lies. A key's home moves from line l to
2l or 2l + 1: the highest keys go first, up into slots nobody has, and leave theirs to those below.
Until a key's turn comes it is found where it was (`ftrl.table.layout.Homes`), as in linear hashing
(Litwin, VLDB 1980), which splits from the lowest on instead.
"""

import mmap
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ftrl.table.layout import (
    EMPTY,
    FIXED,
    GROUP,
    GROUPS_A_MIB,
    LAYOUTS,
    NO_AGES,
    Homes,
    Shift,
    Slots,
    Stored,
    clear,
    find,
    home_shift,
    insert_all,
    is_grouped,
    room,
    tags_of,
)
from streams.compute.arrays import U8, U64
from streams.compute.intrinsics import a_line
from streams.compute.jit import allocating, kernel
from streams.errors import ConfigError

ALL_TOUCHED = np.uint64(0xFFFFFFFFFFFFFFFF)
FIRST_CAPACITY = 64
HUGE = 1 << 22  # bytes from which on larger pages pay, as for NumPy

# Slots moved for each feature that came meanwhile: a table has grown when a sixteenth of the slots
# it had were filled, and is full while it does only when a twelfth were.
MOVED_A_FEATURE = 16
LEAST_MOVED = 1 << 15  # slots a step, so that a table which no longer fills is done some day too

_6 = np.uint64(6)
_63 = np.uint64(63)
_1 = np.uint64(1)


def reserved(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`count` zeroed items of `dtype` at a page's start.

    They take memory only when they are written to. Raises ConfigError if the machine has not that
    much.
    """
    size = count * np.dtype(dtype).itemsize
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise ConfigError(
            f"the learner's table may come to take {size / 2**30:.1f} GiB, more than this machine "
            f"has ({error.strerror}): lower learner.max_features or learner.memory"
        ) from error
    if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, count)


@kernel
def _cluster_start(slots: Slots, slot: int) -> int:
    """The last line, from that of `slot` back, into which the one before has not run over."""
    slot &= -a_line(slots)
    while slot > 0 and slots[slot - 1]["key"] != EMPTY:
        slot -= a_line(slots)
    return slot


@kernel
def _cluster_end(slots: Slots, slot: int) -> int:
    """The first empty slot from `slot` on, or the number of slots."""
    while slot < len(slots) and slots[slot]["key"] != EMPTY:
        slot += 1
    return slot


@allocating
def _settle(slots: Slots, touched: U64, ages: U8, shift: Homes, first: int, end: int) -> None:
    """Take out all that the slots `first` to `end` hold, and put it where `shift` says.

    No search for any other key may lead through one of these slots.
    """
    used = 0
    for slot in range(first, end):
        used += 1 if slots[slot]["key"] != EMPTY else 0
    entries, lasts = np.empty(used, slots.dtype), np.empty(used, np.uint8)
    used = 0
    for slot in range(first, end):
        if slots[slot]["key"] != EMPTY:
            entries[used] = slots[slot]
            if len(ages) > 0:
                lasts[used] = ages[slot]
            clear(slots, slot)
            touched[np.uint64(slot) >> _6] |= _1 << (np.uint64(slot) & _63)
            used += 1
    for i in range(used):
        at = np.uint64(~find(slots, shift, entries[i]["key"]))
        slots[at] = entries[i]
        if len(ages) > 0:
            ages[at] = lasts[i]
        touched[at >> _6] |= _1 << (at & _63)


class Table:
    """The slots, and when there are to be more of them.

    layout: how z and n are stored, a name in `LAYOUTS`. max_features: the number of keys that
    will be asked for, at most. memory: of the slots of layout q2.13, MiB. aged: whether there is to
    be a byte a slot, `ages`, for when its key was last seen. How many slots are used is the
    learner's to count. Raises ConfigError if the machine cannot hold as many.
    """

    def __init__(self, layout: str, max_features: int, memory: int, *, aged: bool = False) -> None:
        self.dtype = LAYOUTS[layout]
        capacity = self._largest = FIRST_CAPACITY
        if layout == FIXED:
            capacity = self._largest = memory * GROUPS_A_MIB * GROUP
            max_features = min(max_features, capacity * 7 // 8)  # beyond, searches grow long
        else:
            while room(self._largest) < max_features:
                self._largest *= 2
        self.max_features = max_features
        self._all: Slots = reserved(self._largest, self.dtype)
        self._all_ages: U8 = reserved(self._largest, np.uint8) if aged else NO_AGES
        self._unmoved = 0  # homes of the smaller table whose keys have not moved
        self._occupy(capacity)
        self.touched: U64 = np.full(capacity // 64, ALL_TOUCHED)

    def _occupy(self, capacity: int) -> None:
        self.slots: Slots = self._all[:capacity]
        self.ages: U8 = self._all_ages[:capacity]

    @property
    def grouped(self) -> bool:
        """Whether the slots are in groups, and never become more."""
        return is_grouped(self.slots)

    @property
    def groups(self) -> int:
        """How many groups the slots are in, 0 if in none: the geometry of layout q2.13."""
        return len(self.slots) // GROUP if self.grouped else 0

    @property
    def growing(self) -> bool:
        """Whether there are keys left to move."""
        return self._unmoved > 0

    @property
    def room(self) -> int:
        """How many keys fit before something must be done; never above `max_features`."""
        if self.grouped:
            return self.max_features
        capacity = len(self.slots)
        # While it grows nearly all keys may still be in half of the slots.
        fits = capacity // 2 * 3 // 4 if self.growing else room(capacity)
        return min(fits, self.max_features)

    @property
    def shift(self) -> Shift:
        """Where keys live; see `Shift`."""
        return None if self.grouped else self._homes(self._unmoved)

    def _homes(self, unmoved: int) -> Homes:
        bits = home_shift(len(self.slots))
        return Homes(bits, np.uint64(unmoved << (int(bits) + 1)))

    def reserve(self, features: int) -> None:
        """Begin to grow if `features` keys will not fit soon; see that so many fit now.

        Unless the table is at its largest.
        """
        while features > self.room and (self.growing or len(self.slots) < self._largest):
            if self.growing:
                self.move(self._unmoved)
            else:
                self._begin()

    def _begin(self) -> None:
        """Have twice the slots, the second half empty, and move the first keys."""
        capacity = self._unmoved = len(self.slots)
        self._occupy(2 * capacity)
        touched = np.zeros(2 * capacity // 64, np.uint64)
        touched[: capacity // 64] = self.touched
        self.touched = touched
        # Those of the highest keys that ran over the end of the smaller table lie at its start;
        # the first step makes all of the highest keys homes in the larger one.
        over = int(_cluster_end(self.slots[:capacity], 0))
        self.move(LEAST_MOVED)
        if self.growing:
            _settle(self.slots, self.touched, self.ages, self._homes(self._unmoved), 0, over)

    def move(self, count: int) -> None:
        """Move the keys of at least `count` homes of the smaller table, or all that are left."""
        first = int(_cluster_start(self.slots, max(self._unmoved - count, 0)))
        end = int(_cluster_end(self.slots, self._unmoved))
        self._unmoved = first
        _settle(self.slots, self.touched, self.ages, self._homes(first), first, end)

    def keep_growing(self, came: int) -> None:
        """Move what is due after `came` features came."""
        if self.growing:
            self.move(max(came * MOVED_A_FEATURE, LEAST_MOVED))

    def take_touched(self) -> U64:
        """A bit a slot, 64 a word: those stored to, filled or emptied since the last call."""
        taken, self.touched = self.touched, np.zeros_like(self.touched)
        return taken

    def load(self, keys: U64, z: Stored, n: Stored, lasts: U8 = NO_AGES) -> None:
        """Take in what `columns` gave, of the same layout or both of floats; must be empty.

        lasts: needed if the slots have ages.
        """
        entries = np.empty(len(keys), self.dtype)
        entries["key"] = tags_of(keys) if self.grouped else keys
        entries["z"], entries["n"] = z, n
        while self.room < len(keys) and len(self.slots) < self._largest:
            self._occupy(2 * len(self.slots))
        self.touched = np.full(len(self.slots) // 64, ALL_TOUCHED)
        insert_all(self.slots, self.ages, self.shift, keys, cast(Slots, entries), lasts)
