"""Which slots were stored to since the last save: a bit a slot, 64 slots a word."""

import numpy as np

from streams.compute.arrays import U64
from streams.compute.jit import inlined

ALL_TOUCHED = np.uint64(0xFFFFFFFFFFFFFFFF)  # a word: all of its 64 slots

_1 = np.uint64(1)
_6 = np.uint64(6)
_63 = np.uint64(63)


def touched_words(slots: int) -> U64:
    """Words for so many slots, a multiple of 64, none of them touched: uint64 [slots / 64]."""
    return np.zeros(slots // 64, np.uint64)


def touched_words_all(slots: int) -> U64:
    """Words for so many slots, a multiple of 64, all of them touched: uint64 [slots / 64]."""
    return np.full(slots // 64, ALL_TOUCHED)


@inlined
def touch(touched: U64, slot: np.uint64) -> None:
    """Set the slot's bit."""
    touched[slot >> _6] |= _1 << (slot & _63)


@inlined
def touch_if_untouched(touched: U64, slot: np.uint64) -> None:
    """Set the slot's bit, but write only if it is not set; most are, since the last save."""
    bit = _1 << (slot & _63)
    if touched[slot >> _6] & bit == 0:
        touched[slot >> _6] |= bit


@inlined
def touch_range(touched: U64, first: int, end: int) -> None:
    """Set the bits of the slots `first` to `end`, both multiples of 64."""
    touched[first // 64 : end // 64] = ALL_TOUCHED
