"""Which features enter the table, decided by several threads and as one would.

A thread has a share of the filters' lines. Of the features whose lines these are it sees all
sightings, in the order of the rows, and no other thread sees any.
"""

import numpy as np

from ftrl import admission, sketch
from ftrl.copies import NEVER, Part, number_of
from ftrl.examples import CORRECTION, Batch, Examples
from ftrl.kernels import Tally
from ftrl.rotation import Progress, Rules, start_example
from streams.intrinsics import prefetch
from streams.jit import I64, U8, U64, kernel

AHEAD = 64  # sightings: by the time they are decided on, their filters' lines are loaded


@kernel
def rotate(
    words: U64,
    rules: Rules,
    progress: Progress,
    examples: Examples,
    before: int,
    start: int,
    stop: int,
) -> None:
    """Have the filters forget all that is due by the end of the rows `start` to `stop`.

    before: examples learned from before these rows.
    """
    kind, kept, ts = examples.kind, examples.kept, examples.ts
    for row in range(start, stop):
        if not (kind[row] == CORRECTION and kept[row]):
            start_example(words, rules, progress, before, ts[row])
            before += 1


@kernel
def decide(
    part: Part,
    share: int,
    words: U64,
    rules: Rules,
    progress: Progress,
    seen: U8,
    seed: np.uint64,
    batch: Batch,
    examples: Examples,
    chosen: I64,
    totals: I64,
    admitted: U64,
    tally: Tally,
    is_full: bool,
) -> int:
    """Count a range's sightings of the features in a share, and let in those that are due.

    They are learned from this row on. Leaves their keys in `admitted`, and returns how many; if
    the table `is_full` they are refused. progress, seen, tally: the share's own. chosen, totals:
    scratch, as long as the range's coordinates.
    """
    copies, listed, of, rows = part.copies, part.keys[share], part.of[share], part.rows[share]
    indptr, keys, _ = batch
    place, kind, kept, bars = examples.place, examples.kind, examples.kept, examples.bars
    count = part.sighted[share]
    come = i = loaded = 0
    while i < count:
        for m in range(loaded, min(i + AHEAD, count)):
            admission.announce(words, rules, listed[m])
            prefetch(copies, np.int64(of[m]))
        loaded = max(loaded, min(i + AHEAD, count))
        row = rows[i]
        size = 0
        while i < count and rows[i] == row:
            chosen[size] = i
            size += 1 if copies[of[i]]["since"] == NEVER else 0
            i += 1
        if size == 0 or (kind[row] == CORRECTION and kept[row]):
            continue
        for m in range(size):
            sketch.observe(seen, listed[chosen[m]])
        met = admission.circumstances(rules, seed, place[row], kind[row])
        due = admission.admit(
            words, rules, progress, met, bars, keys, indptr[row], listed, chosen, totals, size
        )
        if is_full:
            tally[0]["refused"] += due
            continue
        for m in range(due):
            copies[of[chosen[m]]]["since"] = row
            admitted[come] = listed[chosen[m]]
            come += 1
    return come


@kernel
def let_in(part: Part, mask: np.uint64, start: int, admitted: U64, count: int) -> None:
    """Have a range know what was let in before `start`, its first row."""
    marks, names, copies = part.marks, part.names, part.copies
    for i in range(count):
        number = marks[number_of(marks, names, mask, admitted[i])]
        if number != 0:
            copies[number]["since"] = start
