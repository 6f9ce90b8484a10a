"""The memory traffic of learning without its arithmetic: how fast any learner could be here."""

import numpy as np

from ftrl.admission import LINE_WORDS, Filters, line_of, prefetch_lines
from ftrl.kernels import IN_LINE, TILE
from ftrl.table import MaybeHomes, Slots, TableArrays, find, home
from streams.compute.arrays import U8, U64
from streams.compute.intrinsics import prefetch, records_per_line
from streams.compute.jit import kernel

_1 = np.uint64(1)
_6 = np.uint64(6)


@kernel
def outside(slots: Slots, homes: MaybeHomes, keys: U64, held: int, counts: U8, found: U8) -> None:
    """Which coordinates of a stream were outside the table when they came: 1 in `found`, else 0.

    slots: as they are after the whole stream. held: how often a feature is held back. counts: uint8
    a slot, 0 before the first batch of the stream.
    """
    for i in range(len(keys)):
        slot = find(slots, homes, keys[i])
        found[i] = 1 if slot < 0 or counts[slot] < held else 0
        if slot >= 0:
            counts[slot] = min(counts[slot] + 1, 255)


@kernel
def pass_through(
    table: TableArrays,
    filters: Filters,
    keys: U64,
    absent: U8,
    fields: int,
    cells: U64,
    zero: np.uint64,
) -> np.uint64:
    """Read and write what learning from `keys` reads and writes, `fields` keys a row.

    Of each key that is a word of the home slot and the one with the slot's bit in `touched`; of a
    key that is `absent` (uint8, 0 or 1) the filters' lines too, once that is known. The cache lines
    are loaded as early as in learning. cells: the slots' memory as words. The words that were read
    are written again, but for the bits in `zero`, which is to be 0: if the compiler knew, it would
    write nothing at all. Returns a sum of what was read.
    """
    slots, homes, words, rules = table.slots, table.homes, filters.words, filters.rules
    total = zero
    ahead, generations = TILE * fields, rules.generations
    size = np.uint64(8 // records_per_line(slots))
    for i in range(min(ahead, len(keys))):
        prefetch(slots, np.int64(home(slots, homes, keys[i])))
    for first in range(0, len(keys), ahead):
        last = min(first + ahead, len(keys))
        for i in range(first + 2 * ahead, min(first + 3 * ahead, len(keys)), IN_LINE):
            prefetch(keys, i)
        for i in range(first, last):
            if absent[i]:
                prefetch_lines(filters, keys[i])
        for i in range(first, last):
            if i + ahead < len(keys):
                prefetch(slots, np.int64(home(slots, homes, keys[i + ahead])))
            slot = home(slots, homes, keys[i])
            cell = slot * size + (size >> _1)
            total += cells[cell]
            cells[cell] ^= zero
            table.touched[slot >> _6] ^= zero
            if absent[i] and len(words) > 0:
                line = line_of(rules.lines, keys[i]) * generations
                for generation in range(generations):
                    total += words[(line + generation) * LINE_WORDS]
                    words[(line + generation) * LINE_WORDS] ^= zero
    return total
