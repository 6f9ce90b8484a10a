"""The memory traffic of learning without its arithmetic: how fast any learner could be here."""

import numpy as np

from ftrl.admission import LINE_WORDS, Rules, admission, line_of
from ftrl.kernels import BLOCK, IN_LINE
from ftrl.table import Shift, Slots, find, home
from streams.compute.arrays import U8, U64
from streams.compute.intrinsics import a_line, prefetch
from streams.compute.jit import kernel

_1 = np.uint64(1)
_6 = np.uint64(6)


@kernel
def outside(slots: Slots, shift: Shift, keys: U64, held: int, counts: U8, found: U8) -> None:
    """Which coordinates of a stream were outside the table when they came: 1 in `found`, else 0.

    slots: as they are after the whole stream. held: how often a feature is held back. counts: uint8
    a slot, 0 before the first batch of the stream.
    """
    for i in range(len(keys)):
        slot = find(slots, shift, keys[i])
        found[i] = 1 if slot < 0 or counts[slot] < held else 0
        if slot >= 0:
            counts[slot] = min(counts[slot] + 1, 255)


@kernel
def pass_through(
    slots: Slots,
    touched: U64,
    shift: Shift,
    words: U64,
    rules: Rules,
    keys: U64,
    absent: U8,
    fields: int,
    cells: U64,
    nothing: np.uint64,
) -> np.uint64:
    """Read and write what learning from `keys` reads and writes, `fields` keys a row.

    Of each key a word of the home slot and the one with its bit in `touched`; if it is `absent`
    (uint8, 0 or 1), then, when it is known that it is, the filters' lines too. The cache lines are
    loaded as early as in learning. cells: the slots' memory as words. What is written is what was
    read, but for the bits in `nothing`, which is to be 0: if the compiler knew, it would write
    nothing at all. Returns a sum of what was read.
    """
    total = nothing
    ahead, generations = BLOCK * fields, rules.generations
    size = np.uint64(8 // a_line(slots))
    for i in range(min(ahead, len(keys))):
        prefetch(slots, np.int64(home(slots, shift, keys[i])))
    for first in range(0, len(keys), ahead):
        last = min(first + ahead, len(keys))
        for i in range(first + 2 * ahead, min(first + 3 * ahead, len(keys)), IN_LINE):
            prefetch(keys, i)
        for i in range(first, last):
            if absent[i]:
                admission.announce(words, rules, keys[i])
        for i in range(first, last):
            if i + ahead < len(keys):
                prefetch(slots, np.int64(home(slots, shift, keys[i + ahead])))
            slot = home(slots, shift, keys[i])
            cell = slot * size + (size >> _1)
            total += cells[cell]
            cells[cell] ^= nothing
            touched[slot >> _6] ^= nothing
            if absent[i] and len(words) > 0:
                line = line_of(rules.lines, keys[i]) * generations
                for generation in range(generations):
                    total += words[(line + generation) * LINE_WORDS]
                    words[(line + generation) * LINE_WORDS] ^= nothing
    return total
