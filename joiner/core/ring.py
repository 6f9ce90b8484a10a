"""The ring of known impressions and the index that finds them, as the kernels see them.

The ring holds one entry of 32 bytes for each known impression, at position (sequence number
mod capacity), so it fills and drains in the order of arrival. The index finds an entry by its
128-bit id hash: open addressing with linear probing over slots of 4 bytes. A slot holds the
low bits of the sequence number, enough to tell the ring's entries apart, and above them a tag,
a part of the hash, so that a probe that would miss seldom touches the ring.

Nothing is ever deleted from the index. A slot may outlive its entry: its number is then outside
the ring, or names an entry with another hash, or an impression that is no longer known; whoever
reads the slot checks that. `rehash` makes the index anew from the ring, without such slots.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from joiner.core.kernel_types import Int
from streams.compute.arrays import I64, U32, U64
from streams.compute.jit import inlined, kernel

ENTRY = np.dtype(
    [
        ("lo", np.uint64),  # the id's hash, low and high half
        ("hi", np.uint64),
        ("ts", np.int64),
        ("click", np.uint32),  # earliest labelling click's delay + CLICK_BIAS, or NO_CLICK
        ("flags", np.uint32),  # bits 0-7: label by type; 8-15: click recorded by type; below
    ]
)
NO_CLICK = np.uint32(0xFFFFFFFF)
CLICK_BIAS = 400_000_000  # ms; a delay is -L at the least
LABELS = np.uint32(0xFF)
RECORDED_SHIFT = np.uint32(8)
DECIDED = np.uint32(1 << 16)
DROPPED = np.uint32(1 << 17)  # decided, and sampled out

# Indexes into Ring.cursor: sequence numbers of the first known, the first open and the next
# impression; then the number of slots in use.
FIRST_KNOWN, FIRST_OPEN, NEXT, FILLED = 0, 1, 2, 3

EMPTY = np.uint64(0xFFFFFFFF)
_TAGS = np.uint64(0x7FFFFFFF)  # the highest bit is 0, so no slot in use looks empty
AHEAD = 32  # ids whose memory is loaded ahead of their events
_ONE, _32 = np.uint64(1), np.uint64(32)


class Ring(NamedTuple):
    """entries: ENTRY [capacity]. slots: U32, more than the known impressions, fewer than
    2^bits. bits: of a sequence number in a slot, at most 31. cursor: I64 [4].
    """

    entries: npt.NDArray[Any]
    slots: U32
    bits: int
    cursor: I64


class Index(NamedTuple):
    """What `find` needs of a ring: its slots and bits, its entries' hashes (lo, hi), the
    sequence number of its first entry and that entry's position (head).
    """

    slots: U32
    bits: int
    lo: U64
    hi: U64
    first: int
    head: int


@kernel
def index_of(ring: Ring) -> Index:
    """The index of the ring; good until its first entry changes."""
    entries, first = ring.entries, ring.cursor[FIRST_KNOWN]
    return Index(ring.slots, ring.bits, entries["lo"], entries["hi"], first, first % len(entries))


@kernel
def find(index: Index, known: Int, lo: np.uint64, hi: np.uint64) -> tuple[Int, Int]:
    """The index slot of a hash and its ring position, or the slot where it would go and -1.

    known: how many entries the ring holds.
    """
    slots = index.slots
    tag = slot_tag(hi, index.bits)
    numbers = _ONE << np.uint64(index.bits)
    slot: Int = first_slot(lo, slots)
    while True:
        value = np.uint64(slots[slot])
        if value == EMPTY:
            return slot, -1
        number = value ^ tag
        if number < numbers:
            position = position_of_bits(number, index, known)
            if position >= 0 and index.lo[position] == lo and index.hi[position] == hi:
                return slot, position
        slot += 1
        if slot == len(slots):
            slot = 0


@kernel
def first_slot(lo: np.uint64, slots: U32) -> Int:
    """The slot where the search for a hash begins: the upper 32 bits of `lo`, scaled to the
    number of slots.
    """
    return np.int64(((lo >> _32) * np.uint64(len(slots))) >> _32)


@inlined
def position_of(sequence: Int, index: Index) -> Int:
    """The ring position of a sequence number that the ring has room for."""
    position = index.head + (sequence - index.first)
    return position if position < len(index.lo) else position - len(index.lo)


@kernel
def position_of_bits(number: np.uint64, index: Index, known: Int) -> Int:
    """The ring position of the entry with these low bits of its sequence number, or -1.

    known: how many entries the ring holds.
    """
    mask = (_ONE << np.uint64(index.bits)) - _ONE
    offset = np.int64((number - np.uint64(index.first)) & mask)
    if offset >= known:
        return -1
    return position_of(index.first + offset, index)


@kernel
def slot_tag(hi: np.uint64, bits: Int) -> np.uint64:
    """The tag of a hash, in the bits of a slot above those of a sequence number."""
    return (hi << np.uint64(bits)) & _TAGS


@kernel
def slot_value(hi: np.uint64, sequence: Int, bits: Int) -> np.uint32:
    """What the slot of this impression holds."""
    number = np.uint64(sequence) & ((_ONE << np.uint64(bits)) - _ONE)
    return np.uint32(slot_tag(hi, bits) | number)


@kernel
def prefetch_slots(index: Index, lo: U64, start: Int) -> np.uint64:
    """Load the slots where the searches for the next AHEAD hashes will begin.

    Each search alone would wait for main memory; loaded together, the waits overlap. The result
    is made of all that was loaded and means nothing: a compiler drops loads without a result.
    """
    loaded = np.uint64(0)
    for k in range(start, min(start + AHEAD, len(lo))):
        loaded ^= np.uint64(index.slots[first_slot(lo[k], index.slots)])
    return loaded


@kernel
def prefetch_entries(index: Index, known: Int, lo: U64, start: Int) -> np.uint64:
    """Load the same slots, and the ring entries that they name, for hashes likely in the ring."""
    loaded = prefetch_slots(index, lo, start)
    for k in range(start, min(start + AHEAD, len(lo))):
        value = np.uint64(index.slots[first_slot(lo[k], index.slots)])
        position = position_of_bits(value, index, known)
        if position >= 0:
            loaded ^= index.lo[position]
    return loaded


@kernel
def rehash(ring: Ring, watermark: Int, known_span: Int) -> np.uint64:
    """Make the index anew, of every impression that is open or still known at `watermark`.

    watermark: the join's, ms. Two known impressions never have the same hash, so nothing is
    compared. The result means nothing, see `prefetch_slots`.
    """
    slots, bits, cursor = ring.slots, ring.bits, ring.cursor
    entries_lo, entries_hi, entries_ts = ring.entries["lo"], ring.entries["hi"], ring.entries["ts"]
    slots[:] = np.uint32(EMPTY)
    index = index_of(ring)
    capacity = len(entries_lo)
    known = cursor[NEXT] - cursor[FIRST_KNOWN]
    decided = cursor[FIRST_OPEN] - cursor[FIRST_KNOWN]
    loaded = np.uint64(0)
    filled = 0
    position = index.head
    for offset in range(known):
        if offset % AHEAD == 0:
            loaded ^= prefetch_slots(index, entries_lo, position)
        if offset >= decided or watermark <= entries_ts[position] + known_span:
            slot: Int = first_slot(entries_lo[position], slots)
            while np.uint64(slots[slot]) != EMPTY:
                slot += 1
                if slot == len(slots):
                    slot = 0
            slots[slot] = slot_value(entries_hi[position], cursor[FIRST_KNOWN] + offset, bits)
            filled += 1
        position += 1
        if position == capacity:
            position = 0
    cursor[FILLED] = filled
    return loaded
