"""Several threads that learn a batch together, and come to what one would have come to.

While one does the arithmetic of a part of the batch, the others look up the coordinates of the next
(`ftrl.lookahead`), each those of a range of its own, without locks: nothing that one of them
reads is written to by another meanwhile. Then one of them lets new features in.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ftrl import lookahead
from ftrl.examples import Batch, Examples
from ftrl.kernels import Model, Rates
from ftrl.lookahead import AHEAD, memo
from ftrl.scratch import STAMPS, Scratch, scratch_for
from streams.jit import F64, I64

MOST = 1 << 16  # coordinates of a part
FEWEST = 1 << 14  # coordinates of a part: of fewer, threads would mostly wait for each other

_OF_LOOKING_UP = ("used", "refused", "crowded")  # the rest of the tally is of the arithmetic


class _Part(NamedTuple):
    """Rows `start` to `stop`, and space for the slots of their coordinates."""

    start: int
    stop: int
    at: I64
    away: I64


class Team:
    """Threads, with space for two parts of a batch: one is learned, one looked up."""

    def __init__(self, threads: int) -> None:
        """threads: 2 or more, this one included."""
        self._lookers = threads - 1
        self._pool = ThreadPoolExecutor(self._lookers, "clickloop-look-up")
        self._space = [(np.empty(MOST, np.int64), np.empty(MOST, np.int64)) for _ in range(2)]
        self._memos = [memo() for _ in range(self._lookers)]
        self._came = np.zeros(STAMPS, np.uint16)
        self._parts = 0
        self._missed = np.empty((self._lookers, 2 * AHEAD), np.int64)

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
    ) -> int:
        """Predict, then learn, rows from `start` on, up to `stop`; each one's logit to `logits`.

        Returns where to go on, which is as of `ftrl.kernels.learn`, or earlier, where one thread
        alone should; `start` if that is so from there on, for the rows are too few, or too long.
        """
        bounds = self._cut(batch.indptr, start, stop)
        if len(bounds) < 3:
            return start
        for places in self._memos:
            places.fill(0)
        ahead = model._replace(tally=model.tally.copy())
        own = scratch_for(batch)
        parts = [
            _Part(first, last, *self._space[number % 2])
            for number, (first, last) in enumerate(itertools.pairwise(bounds))
        ]
        done = start
        found = self._pool.submit(self._find, ahead, batch, examples, own, parts[0])
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            done = found.result()
            if following is not None and done == part.stop:
                found = self._pool.submit(self._find, ahead, batch, examples, own, following)
            s.marks.fill(-1)
            lookahead.learn(model, rates, batch, examples, s, part.start, done, part.at, logits)
            if done < part.stop:
                break
        for name in _OF_LOOKING_UP:
            model.tally[name] = ahead.tally[name]
        return done

    def _cut(self, indptr: I64, start: int, stop: int) -> list[int]:
        """The bounds of parts; the rows after the last are left to one thread.

        The first are small, for nothing is learned while the first is looked up, and so are the
        last, for nothing is looked up while the last is learned.
        """
        bounds, size = [start], FEWEST
        while bounds[-1] < stop:
            first = indptr[bounds[-1]]
            size = max(min(2 * size, int(indptr[stop] - first) // 2, MOST), FEWEST)
            end = int(np.searchsorted(indptr, first + size, "right")) - 1
            if end <= bounds[-1]:
                break
            bounds.append(min(end, stop))
        return bounds

    def _find(self, model: Model, batch: Batch, examples: Examples, s: Scratch, part: _Part) -> int:
        """Find the slots of a part's coordinates; returns before which row to stop."""
        first, last = (int(batch.indptr[row]) for row in (part.start, part.stop))
        edges = np.linspace(0, last - first, self._lookers + 1).astype(int).tolist()
        others = [
            self._pool.submit(self._look_up, model, batch, part, first, edges, mine)
            for mine in range(1, self._lookers)
        ]
        count = self._look_up(model, batch, part, first, edges, 0)
        for mine, other in enumerate(others, 1):
            some, begin = other.result(), edges[mine]
            part.away[count : count + some] = part.away[begin : begin + some] + begin
            count += some
        s.marks.fill(-1)
        self._parts += 1
        return lookahead.admit(
            model, batch, examples, s, part.start, part.stop, part.at, part.away, count,
            self._came, np.uint16(self._parts & 0xFFFF),
        )  # fmt: skip

    def _look_up(
        self, model: Model, batch: Batch, part: _Part, first: int, edges: list[int], mine: int
    ) -> int:
        begin, end = edges[mine : mine + 2]
        return lookahead.look_up(
            model.slots, model.shift, self._memos[mine], batch.keys[first + begin : first + end],
            part.at[begin:end], part.away[begin:end], self._missed[mine],
        )  # fmt: skip
