"""The slots in memory, and their incremental resize: in place, some homes at a time.

Address space for the largest table is reserved at the start; the system gives memory to what is
written to. So a table of C slots becomes one of 2C where it lies. A key's home moves from line l to
2l or 2l + 1. The highest keys move first, up into slots that no key has, and make room for those
below. A split pointer divides the keys that have moved from those that have not, which are found
where they were (`ftrl.table.layout.Homes`), as in linear hashing (Litwin, VLDB 1980), which splits
from the lowest on instead.
"""

import mmap
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ftrl.table.layout import (
    BUCKET,
    BUCKETS_A_MIB,
    EMPTY,
    FIXED,
    LAYOUTS,
    NO_AGES,
    Homes,
    MaybeHomes,
    Slots,
    Stored,
    TableArrays,
    clear,
    find,
    home_shift,
    insert_all,
    is_bucketed,
    room,
    tags_of,
)
from ftrl.table.touched import touch, touched_words, touched_words_all
from streams.compute.arrays import U8, U64
from streams.compute.intrinsics import records_per_line
from streams.compute.jit import allocating, kernel
from streams.errors import ConfigError

FIRST_CAPACITY = 64
HUGE = 1 << 22  # bytes from which on larger pages of memory pay, as for NumPy

# Slots moved for each feature that came meanwhile: a table has grown when a sixteenth of the slots
# it had were filled, and is full while it does only when a twelfth were.
MOVED_A_FEATURE = 16
LEAST_MOVED = 1 << 15  # slots a step, so that a table which no longer fills is done some day too


def reserved(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`count` zeroed items of `dtype`, which start at a page of memory.

    The items take memory only when they are written to. Raises ConfigError if the machine has not
    that much.
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
    """The last line, from that of `slot` back, into which the line before has not run over."""
    slot &= -records_per_line(slots)
    while slot > 0 and slots[slot - 1]["key"] != EMPTY:
        slot -= records_per_line(slots)
    return slot


@kernel
def _cluster_end(slots: Slots, slot: int) -> int:
    """The first empty slot from `slot` on, or the number of slots."""
    while slot < len(slots) and slots[slot]["key"] != EMPTY:
        slot += 1
    return slot


@allocating
def _rehash(table: TableArrays, first: int, end: int) -> None:
    """Take out all that the slots `first` to `end` hold, and insert it where `table.homes` says.

    No search for any other key may lead through one of these slots.
    """
    slots, ages = table.slots, table.ages
    used = 0
    for slot in range(first, end):
        used += 1 if slots[slot]["key"] != EMPTY else 0
    entries, entry_ages = np.empty(used, slots.dtype), np.empty(used, np.uint8)
    used = 0
    for slot in range(first, end):
        if slots[slot]["key"] != EMPTY:
            entries[used] = slots[slot]
            if len(ages) > 0:
                entry_ages[used] = ages[slot]
            clear(slots, slot)
            touch(table.touched, np.uint64(slot))
            used += 1
    for i in range(used):
        target = np.uint64(~find(slots, table.homes, entries[i]["key"]))
        slots[target] = entries[i]
        if len(ages) > 0:
            ages[target] = entry_ages[i]
        touch(table.touched, target)


class Table:
    """The slots, and when there are to be more of them.

    The learner counts how many slots are used.
    """

    def __init__(self, layout: str, max_features: int, memory: int, *, aged: bool = False) -> None:
        """layout: how z and n are stored, a name in `LAYOUTS`.

        max_features: the number of keys at most. memory: of the slots of layout q2.13, MiB. aged:
        whether there is to be a byte a slot, `ages`, for when its key was last seen. Raises
        ConfigError if the machine cannot hold as many.
        """
        self.dtype = LAYOUTS[layout]
        capacity = self._largest = FIRST_CAPACITY
        if layout == FIXED:
            capacity = self._largest = memory * BUCKETS_A_MIB * BUCKET
            max_features = min(max_features, capacity * 7 // 8)  # beyond, searches grow long
        else:
            while room(self._largest) < max_features:
                self._largest *= 2
        self.max_features = max_features
        self._all: Slots = reserved(self._largest, self.dtype)
        self._all_ages: U8 = reserved(self._largest, np.uint8) if aged else NO_AGES
        self._split = 0  # homes of the smaller table whose keys have not moved yet
        self._occupy(capacity)
        self.touched: U64 = touched_words_all(capacity)

    def _occupy(self, capacity: int) -> None:
        self.slots: Slots = self._all[:capacity]
        self.ages: U8 = self._all_ages[:capacity]

    @property
    def bucketed(self) -> bool:
        """Whether the slots are in buckets, and never become more."""
        return is_bucketed(self.slots)

    @property
    def buckets(self) -> int:
        """How many buckets the slots are in, 0 if in none: the geometry of layout q2.13."""
        return len(self.slots) // BUCKET if self.bucketed else 0

    @property
    def growing(self) -> bool:
        """Whether there are keys left to move."""
        return self._split > 0

    @property
    def room(self) -> int:
        """How many keys fit before something must be done; never above `max_features`."""
        if self.bucketed:
            return self.max_features
        capacity = len(self.slots)
        # While the table grows nearly all keys may still be in half of the slots.
        fits = capacity // 2 * 3 // 4 if self.growing else room(capacity)
        return min(fits, self.max_features)

    @property
    def homes(self) -> MaybeHomes:
        """Where keys live; None where slots are in buckets."""
        return None if self.bucketed else self._homes(self._split)

    @property
    def arrays(self) -> TableArrays:
        """The table as kernels take it; holds until it grows or `take_touched` is called."""
        return TableArrays(self.slots, self.touched, self.ages, self.homes)

    def _homes(self, split: int) -> Homes:
        shift = home_shift(len(self.slots))
        return Homes(shift, np.uint64(split << (int(shift) + 1)))

    def reserve(self, features: int) -> None:
        """Make room for `features` keys, and begin to grow if so many will not fit soon.

        A table at its largest stays as it is.
        """
        while features > self.room and (self.growing or len(self.slots) < self._largest):
            if self.growing:
                self.move(self._split)
            else:
                self._begin()

    def _begin(self) -> None:
        """Have twice the slots, the second half empty, and move the first keys."""
        capacity = self._split = len(self.slots)
        self._occupy(2 * capacity)
        touched = touched_words(2 * capacity)
        touched[: capacity // 64] = self.touched
        self.touched = touched
        # The highest keys that ran over the end of the smaller table lie at its start; the first
        # step makes all homes of the highest keys those in the larger one.
        over = int(_cluster_end(self.slots[:capacity], 0))
        self.move(LEAST_MOVED)
        if self.growing:
            _rehash(self.arrays, 0, over)

    def move(self, count: int) -> None:
        """Move the keys of at least `count` homes of the smaller table, or all that are left."""
        first = int(_cluster_start(self.slots, max(self._split - count, 0)))
        end = int(_cluster_end(self.slots, self._split))
        self._split = first
        _rehash(self.arrays, first, end)

    def keep_growing(self, new_features: int) -> None:
        """Move what is due after `new_features` features came."""
        if self.growing:
            self.move(max(new_features * MOVED_A_FEATURE, LEAST_MOVED))

    def take_touched(self) -> U64:
        """A bit a slot, 64 a word: those stored to, filled or emptied since the last call."""
        taken, self.touched = self.touched, touched_words(len(self.slots))
        return taken

    def load(self, keys: U64, z: Stored, n: Stored, ages: U8 = NO_AGES) -> None:
        """Take in what `columns` gave, of the same layout or both of floats; must be empty.

        ages: needed if the slots have ages.
        """
        entries = np.empty(len(keys), self.dtype)
        entries["key"] = tags_of(keys) if self.bucketed else keys
        entries["z"], entries["n"] = z, n
        while self.room < len(keys) and len(self.slots) < self._largest:
            self._occupy(2 * len(self.slots))
        self.touched = touched_words_all(len(self.slots))
        insert_all(self.slots, self.ages, self.homes, keys, cast(Slots, entries), ages)
