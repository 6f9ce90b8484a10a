"""Several threads that learn together, and come to the same every time.

A batch is learned in parts: so large that threads seldom wait for each other, so small that what
they do not see of each other hardly matters. Of each part every thread learns a range of rows on
copies (`ftrl.copies`, `ftrl.ranges`), decides on a share of the features outside the table
(`ftrl.shares`), and merges the copies of a stretch of the slots (`ftrl.merging`). No two write to
the same place, so it makes no difference which is the faster.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from ftrl import merging, ranges, shares
from ftrl.copies import Memory, gather, mask_for, part_for, scale_for
from ftrl.examples import Batch, Examples
from ftrl.kernels import Model, Rates, Tally
from ftrl.rotation import Progress
from ftrl.scratch import Scratch, scratch_for
from ftrl.sketch import registers
from streams.jit import F64

ROWS = 8192  # of a range, at most
MOST_ROWS = 1 << 14  # of a part: the more of them, the more is not seen
CAUTION = 16  # a part is at most so small a share of the examples there were before
COORDINATES = 1 << 18  # of a range, about, so that its copies stay in a core's caches
FEWEST = 1 << 14  # coordinates of a range: for fewer threads would mostly wait for each other
LONGEST = 1 << 16  # coordinates of a row
TOGETHER = 1 / 6  # of a row's coordinates: so many come to rest as one, see `ftrl.merging`


_NO_ROWS = Batch(np.zeros(1, np.int64), np.empty(0, np.uint64), np.empty(0))


class _Task(NamedTuple):
    """A part to be learned. bounds: where the ranges begin, and the last one ends.

    masks, tallies, courses (of the filters' generations): each thread's own.
    """

    model: Model
    rates: Rates
    batch: Batch
    examples: Examples
    logits: F64
    bounds: list[int]
    masks: list[np.uint64]
    reach: float
    is_full: bool
    tallies: list[Tally]
    courses: list[Progress]


class Team:
    """Threads, each with space for its range of rows."""

    def __init__(self, threads: int, layout: str) -> None:
        """layout: of the table, one of floats."""
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "clickloop-learn")
        room = COORDINATES + LONGEST
        self._parts = [part_for(layout, threads, room) for _ in range(threads)]
        take = Memory(threads * room * 25).take
        self._chosen = take(np.int64, threads, 2, room)
        self._admitted = take(np.uint64, threads, room)
        self._touched = take(np.uint64, threads, room // 64 + 1)
        self._sketches = [registers() for _ in range(threads)]
        self._scratch = [scratch_for(_NO_ROWS) for _ in range(threads)]
        self._sizes = [0] * threads
        self._coming = [0] * threads
        self._entered = [0] * threads
        self._reach = 0.0

    def learn(
        self,
        model: Model,
        rates: Rates,
        batch: Batch,
        examples: Examples,
        s: Scratch,
        start: int,
        stop: int,
        logits: F64,
        *,
        refuses: bool,
    ) -> int:
        """Predict, then learn, rows from `start` on, up to `stop`; each one's logit to `logits`.

        s: space for the batch's rows, of which threads have their own. refuses: whether features
        are refused when the table is full. Returns where to go on: `start` if one thread alone
        should, for the rows are too few, or too long. What entered has no slots yet: see `enter`.
        """
        before = int(model.tally["examples"][0])
        short = len(s.chosen) <= LONGEST
        bounds = self._cut(batch, start, stop, before) if short else []
        if not bounds:
            return start
        if len(s.chosen) > len(self._scratch[0].chosen):
            self._scratch = [scratch_for(batch) for _ in self._parts]
        shares.rotate(model.words, model.rules, model.progress, examples, before, start, bounds[-1])
        task = self._task(model, rates, batch, examples, bounds, logits, refuses)
        for work in (self._gather, self._decide, self._learn, self._merge):
            self._all(partial(work, task))
        self._sum_up(task)
        return bounds[-1]

    @property
    def coming(self) -> int:
        """How many features are to enter, at most."""
        return sum(self._coming)

    def enter(self, model: Model, rates: Rates) -> bool:
        """Give slots to the features that are to enter; returns whether all have one.

        If not, the table is full; called again when it is not, it goes on.
        """
        for mine, (part, count) in enumerate(zip(self._parts, self._coming, strict=True)):
            self._entered[mine] = merging.enter(
                part, self._entered[mine], count, model.slots, model.ages, _epoch(model),
                model.touched, model.shift, model.max_features, model.tally, rates, self._reach,
            )  # fmt: skip
            if self._entered[mine] < count:
                return False
        return True

    def _cut(self, batch: Batch, start: int, stop: int, before: int) -> list[int]:
        """The next part's bounds, or []; before: examples learned from."""
        rows = min(ROWS * self._threads, MOST_ROWS, before // CAUTION, stop - start)
        ends = batch.indptr[start : start + rows + 1]
        rows = int(np.searchsorted(ends, ends[0] + COORDINATES * self._threads, "right")) - 1
        count = ends[rows] - ends[0]
        if count < FEWEST * self._threads:
            return []
        even = ends[0] + count * np.arange(1, self._threads) // self._threads
        return [start, *(start + np.searchsorted(ends, even)).tolist(), start + rows]

    def _task(
        self,
        model: Model,
        rates: Rates,
        batch: Batch,
        examples: Examples,
        bounds: list[int],
        logits: F64,
        refuses: bool,
    ) -> _Task:
        edges = batch.indptr[bounds]
        self._reach = TOGETHER * float(edges[-1] - edges[0]) / (bounds[-1] - bounds[0])
        return _Task(
            model,
            rates,
            batch,
            examples,
            logits,
            bounds,
            [mask_for(count) for count in np.diff(edges).tolist()],
            self._reach,
            refuses and bool(model.tally["used"][0] >= model.max_features),
            [model.tally.copy() for _ in self._parts],
            [model.progress.copy() for _ in self._parts],
        )

    def _gather(self, task: _Task, mine: int) -> None:
        model, lines = task.model, task.model.rules.lines
        start, stop = task.bounds[mine : mine + 2]
        self._sizes[mine] = gather(
            self._parts[mine], model.slots, model.shift, lines, scale_for(lines, self._threads),
            task.masks[mine], task.batch, start, stop, self._chosen[mine, 0],
        )  # fmt: skip

    def _decide(self, task: _Task, mine: int) -> None:
        model, admitted = task.model, self._admitted[mine]
        chosen, totals = self._chosen[mine]
        for number, part in enumerate(self._parts):
            count = shares.decide(
                part, mine, model.words, model.rules, task.courses[mine], self._sketches[mine],
                model.seed, task.batch, task.examples, chosen, totals, admitted,
                task.tallies[mine], task.is_full,
            )  # fmt: skip
            for later in range(number + 1, self._threads):
                start = task.bounds[later]
                shares.let_in(self._parts[later], task.masks[later], start, admitted, count)

    def _learn(self, task: _Task, mine: int) -> None:
        self._entered[mine] = 0
        start, stop = task.bounds[mine : mine + 2]
        self._coming[mine] = ranges.learn(
            self._parts[mine], self._sizes[mine], task.model.shift, self._touched[mine],
            task.rates, task.tallies[mine], task.batch, task.examples, self._scratch[mine],
            start, stop, task.logits,
        )  # fmt: skip

    def _merge(self, task: _Task, mine: int) -> None:
        model = task.model
        stretch = -(-len(model.touched) // self._threads) * 64  # no two share a word of `touched`
        first, now = mine * stretch, _epoch(model)
        for part, size in zip(self._parts, self._sizes, strict=True):
            merging.merge(
                part, size, model.slots, model.ages, now, model.touched, first, first + stretch,
                task.rates, task.reach, self._chosen[mine, 0],
            )  # fmt: skip

    def _sum_up(self, task: _Task) -> None:
        """Bring together what threads have counted each for itself."""
        model = task.model
        tally, progress = model.tally.copy(), model.progress.copy()
        for mine in range(self._threads):
            merging.sum_up(
                model.tally, tally, task.tallies[mine], model.progress, progress,
                task.courses[mine], model.seen, self._sketches[mine], task.rates, task.reach,
            )  # fmt: skip

    def _all(self, work: Callable[[int], None]) -> None:
        """Have every thread do `work`, this one too."""
        others = [self._pool.submit(work, mine) for mine in range(1, self._threads)]
        work(0)
        for other in others:
            other.result()


def _epoch(model: Model) -> int:
    return int(model.tally["examples"][0]) // model.epoch & 255
