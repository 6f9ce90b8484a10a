"""A range of rows, as a thread that learns it sees it: each of its features copied once.

The copies lie side by side in a few hundred KiB. Learning from them meets no other thread, no
cache line that others write to, and hardly ever a cache miss.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ftrl import table
from ftrl.examples import Batch
from ftrl.filters import line_of
from ftrl.growth import reserved
from ftrl.rotation import CONTROL
from ftrl.table import Shift, Slots, Stored
from streams.intrinsics import CACHE_LINE, prefetch
from streams.jit import I32, I64, U8, U64, inlined, kernel

BLOCK = 16  # rows: by the time they are read, the slots of a block's features are loaded

PRESENT = -1  # of `since`: the feature is in the table
NEVER = np.iinfo(np.int32).max  # it is not let in

# since: from which row on the feature is learned. last: where it has occurred last.
COPIES = {
    name: np.dtype([("since", np.int32), ("last", np.int32), ("z", kind), ("n", kind)])
    for name, kind in (("float32", np.float32), ("float64", np.float64))
}

_1 = np.uint64(1)
_32 = np.uint64(32)
_CONTROL_BITS = np.uint64(CONTROL.bit_length() - 1)


class Part(NamedTuple):
    """What a thread knows of its range of rows. The features there are numbered from 1 on.

    marks: int32, from keys to numbers by open addressing, 0 where there is none. By number: names
    (uint64, their keys), copies (of a type of `COPIES`), z, n (as stored, what the copies began
    with), home (int64, their slots, or ABSENT), is_new (uint8, whether that is ABSENT). numbers:
    int32, of each of the range's coordinates. Of sightings of features outside the table, by the
    share they fall to: sighted (int64 [shares], how many), keys (uint64 [shares, ...]), of (int32,
    their numbers), rows (int32). entering: int32, the numbers of features that come into the table.
    """

    marks: I32
    names: U64
    copies: Slots
    z: Stored
    n: Stored
    home: I64
    is_new: U8
    numbers: I32
    sighted: I64
    keys: U64
    of: I32
    rows: I32
    entering: I32


class Memory:
    """Large pages, handed out in pieces that each start at a cache line.

    Copies are looked up at random, and with small pages most of these would miss the TLB.
    """

    def __init__(self, size: int) -> None:
        """size: bytes, at most; they take memory only where they are written to."""
        self._left: U8 = reserved(size, np.uint8)

    def take(self, dtype: npt.DTypeLike, *shape: int) -> npt.NDArray[Any]:
        """An array, all 0."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        taken, self._left = self._left[:size], self._left[-(-size // CACHE_LINE) * CACHE_LINE :]
        return taken.view(dtype).reshape(shape)


def part_for(layout: str, shares: int, coordinates: int) -> Part:
    """Space for a range of up to so many coordinates."""
    size, kind = coordinates + 1, COPIES[layout]
    take = Memory(coordinates * (80 + 16 * shares) + (1 << 12)).take
    return Part(
        marks=take(np.int32, int(mask_for(coordinates)) + 1),
        names=take(np.uint64, size),
        copies=take(kind, size),
        z=take(kind["z"], size),
        n=take(kind["n"], size),
        home=take(np.int64, size),
        is_new=take(np.uint8, size),
        numbers=take(np.int32, coordinates),
        sighted=take(np.int64, shares),
        keys=take(np.uint64, shares, coordinates),
        of=take(np.int32, shares, coordinates),
        rows=take(np.int32, shares, coordinates),
        entering=take(np.int32, coordinates),
    )


def mask_for(coordinates: int) -> np.uint64:
    """What takes a key of so many coordinates to where its search begins in `marks`."""
    return np.uint64((1 << coordinates.bit_length()) - 1)


def scale_for(lines: int, shares: int) -> np.uint64:
    """What `share_of` needs to know: how many shares there are to a line of the control filters."""
    return np.uint64((shares << 32) // -(-lines // CONTROL))


@inlined
def share_of(lines: int, scale: np.uint64, key: np.uint64) -> np.int64:
    """Whose share a key is: that of its line, and of all lines with the same control line."""
    return np.int64(((np.uint64(line_of(lines, key)) >> _CONTROL_BITS) * scale) >> _32)


@inlined
def number_of(marks: I32, names: U64, mask: np.uint64, key: np.uint64) -> np.uint64:
    """Where in `marks` the number of a key is, or will be."""
    place = key & mask
    while marks[place] != 0 and names[np.uint64(marks[place])] != key:
        place = (place + _1) & mask
    return place


@kernel
def gather(
    part: Part,
    slots: Slots,
    shift: Shift,
    lines: int,
    scale: np.uint64,
    mask: np.uint64,
    batch: Batch,
    start: int,
    stop: int,
    chosen: I64,
) -> int:
    """Number the features of the rows `start` to `stop`, copy those in the table, list the others.

    Of those the first coordinate in each row is listed. Returns the highest number + 1. While a
    block's keys are numbered, the slots of the block before are being loaded; loops note without a
    branch what is to be looked at more closely. chosen: scratch, as long as the coordinates.
    """
    marks, names, copies, z, n, home, is_new, numbers, sighted, listed, of, rows, _ = part
    indptr, keys, _ = batch
    marks[: mask + _1] = 0
    sighted[:] = 0
    base = indptr[start]
    size = copied = 1
    for first in range(start, stop + BLOCK, BLOCK):
        fresh = size
        away = 0
        for i in range(indptr[min(first, stop)], indptr[min(first + BLOCK, stop)]):
            key = keys[np.uint64(i)]
            number = marks[key & mask]
            numbers[np.uint64(i - base)] = number
            chosen[np.uint64(away)] = i
            away += 1 if names[np.uint64(number)] != key else 0
        for m in range(away):
            i = chosen[np.uint64(m)]
            key = keys[np.uint64(i)]
            place = number_of(marks, names, mask, key)
            if marks[place] == 0:
                marks[place] = size
                names[np.uint64(size)] = key
                prefetch(slots, np.int64(table.home(slots, shift, key)))
                size += 1
            numbers[np.uint64(i - base)] = marks[place]

        away = 0
        for number in range(np.uint64(copied), np.uint64(fresh)):
            slot, at_home = table.at_home(slots, shift, names[number])
            home[number] = slot
            copies[number]["since"] = PRESENT
            chosen[np.uint64(away)] = number
            away += 0 if at_home else 1
        away = table.find_all(slots, shift, names, home, chosen, 0, away)
        for number in range(copied, fresh):
            copy, there = np.uint64(number), np.uint64(max(home[np.uint64(number)], 0))
            is_new[copy] = 0
            copies[copy]["last"] = -1
            copies[copy]["z"] = z[copy] = slots[there]["z"]
            copies[copy]["n"] = n[copy] = slots[there]["n"]
        for m in range(away):
            copy = np.uint64(chosen[m])
            is_new[copy] = 1
            copies[copy]["since"] = NEVER
            copies[copy]["z"] = z[copy] = 0
            copies[copy]["n"] = n[copy] = 0
        copied = fresh

        away = 0
        row = max(first - BLOCK, start)
        begin = end = indptr[row] - base
        for i in range(begin, indptr[min(first, stop)] - base):
            chosen[np.uint64(away)] = i
            away += is_new[np.uint64(numbers[np.uint64(i)])]
        row -= 1
        for m in range(away):
            i = chosen[np.uint64(m)]
            while i >= end:
                row += 1
                begin, end = end, indptr[row + 1] - base
            copy = np.uint64(numbers[np.uint64(i)])
            if copies[copy]["last"] < begin:
                copies[copy]["last"] = i
                share = share_of(lines, scale, names[copy])
                at = sighted[share]
                listed[share, at] = names[copy]
                of[share, at] = copy
                rows[share, at] = row
                sighted[share] = at + 1
    return size
