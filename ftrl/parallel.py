"""Several threads that learn a batch together, and come to what one would have come to.

The batch is cut into parts. While one thread does the arithmetic of a part, the others take turns
at those that follow: each looks up the coordinates of one, beside the others, and lets new features
in when all parts before have done so (`ftrl.lookahead`). They tell each other how far they are by
counters in memory, so a part costs no more than a part of the work.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ftrl import lookahead
from ftrl.examples import Batch, Examples
from ftrl.lookahead import AHEAD, memo
from ftrl.model import Model, Rates
from ftrl.scratch import STAMPS, Scratch, scratch_for
from ftrl.table import aligned
from streams.intrinsics import CACHE_LINE, give_way, publish, published, rest
from streams.jit import F64, I64, U16, U64, kernel

PART = 1 << 13  # coordinates
FEWEST = 4  # parts: of fewer, threads would mostly wait for each other
AT_ONCE = 8  # parts that are looked up or learned, each with space of its own
PATIENCE = 256  # how often a thread asks before it sleeps in between

# Which counter tells how many parts are ready to be learned, how many are learned, how many will
# be, and whether all is over; each in a cache line of its own.
_READY, _LEARNED, _LAST, _OVER = (number * CACHE_LINE // 8 for number in range(4))
COUNTERS = _OVER + 1


class Relay(NamedTuple):
    """What the threads share while they learn a batch.

    bounds: int64 [parts + 1], of the rows. ends: int64 [parts], before which row each part ended;
    at first where it would. counters: int64 [COUNTERS], see `_READY`. at: int64 [AT_ONCE, PART],
    the slots of the parts' coordinates. came: uint16 [STAMPS], see `ftrl.lookahead.admit`.
    """

    bounds: I64
    ends: I64
    counters: I64
    at: I64
    came: U16


class _Own(NamedTuple):
    """What belongs to a thread that looks up."""

    places: U64
    away: I64
    missed: I64


class Team:
    """Threads that learn together."""

    def __init__(self, threads: int) -> None:
        """threads: 2 or more, this one included."""
        self._pool = ThreadPoolExecutor(threads - 1, "clickloop-look-up")
        self._at = np.empty((AT_ONCE, PART), np.int64)
        self._came = np.zeros(STAMPS, np.uint16)
        self._own = [
            _Own(memo(), np.empty(PART, np.int64), np.empty(2 * AHEAD, np.int64))
            for _ in range(threads - 1)
        ]

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
        bounds = np.empty(stop - start + 1, np.int64)
        parts = _cut(batch.indptr, start, stop, PART, bounds)
        if parts < FEWEST:
            return start
        bounds = bounds[: parts + 1]
        counters: I64 = aligned(COUNTERS, np.int64)
        counters[_LAST] = parts
        relay = Relay(bounds, bounds[1:].copy(), counters, self._at, self._came)
        ahead = model._replace(tally=model.tally.copy())
        others = [
            self._pool.submit(self._prepare, ahead, batch, examples, relay, number)
            for number in range(len(self._own))
        ]
        s.marks.fill(-1)
        try:
            done = follow(model, rates, batch, examples, s, relay, logits)
        finally:
            relay.counters[_OVER] = 1
        for other in others:
            other.result()
        for name in lookahead.TALLIED:
            model.tally[name] = ahead.tally[name]
        return done

    def ask(self, whether: Callable[[U64], bool], keys: U64) -> Callable[[], bool]:
        """Begin to find out `whether` something is so of any of the keys; what is returned tells.

        The others look at their shares at once, this thread at its own when it wants to know, and
        at all of them if they are few.
        """
        count = len(self._own) if len(keys) >= FEWEST * PART else 0
        mine, *theirs = np.array_split(keys, count + 1)
        asked = [self._pool.submit(whether, share) for share in theirs]
        return lambda: any([whether(mine), *(one.result() for one in asked)])

    def _prepare(
        self, model: Model, batch: Batch, examples: Examples, relay: Relay, number: int
    ) -> None:
        own, lookers = self._own[number], len(self._own)
        own.places.fill(0)
        try:
            look_ahead(model, batch, examples, scratch_for(batch), relay, *own, number, lookers)
        except BaseException:
            relay.counters[_OVER] = 1  # or who waits for it would wait forever
            raise


@kernel
def _cut(indptr: I64, start: int, stop: int, most: int, bounds: I64) -> int:
    """Cut rows into parts of `most` coordinates at most, up to the first row that is longer.

    Puts the bounds into `bounds`; returns how many parts there are.
    """
    bounds[0] = start
    parts, row = 0, start
    while row < stop:
        end = row
        while end < stop and indptr[end + 1] - indptr[row] <= most:
            end += 1
        if end == row:
            break
        parts += 1
        bounds[parts] = end
        row = end
    return parts


@kernel
def _wait(counters: I64, which: int, value: int) -> bool:
    """Wait until a counter is at least `value`; returns whether it is, for all may be over."""
    asked = 0
    while published(counters, which) < value:
        if published(counters, _OVER) != 0:
            return False
        asked += 1
        if asked < PATIENCE:
            give_way()
        else:
            rest()
    return True


@kernel
def look_ahead(
    model: Model,
    batch: Batch,
    examples: Examples,
    s: Scratch,
    relay: Relay,
    places: U64,
    away: I64,
    missed: I64,
    number: int,
    lookers: int,
) -> None:
    """Prepare every `lookers`-th part, from that of this `number` on."""
    bounds, ends, counters = relay.bounds, relay.ends, relay.counters
    indptr, keys, _ = batch
    for part in range(number, len(ends), lookers):
        if not _wait(counters, _LEARNED, part - AT_ONCE + 1):
            return
        known = published(counters, _READY)
        start, stop = bounds[part], bounds[part + 1]
        at = relay.at[part % AT_ONCE]
        count = lookahead.look_up(
            model.slots, model.shift, places, keys[indptr[start] : indptr[stop]], at, away, missed
        )
        if not _wait(counters, _READY, part) or published(counters, _LAST) <= part:
            return
        ends[part] = lookahead.admit(
            model, batch, examples, s, start, stop, at, away, count, relay.came, known, part
        )
        # Features that have to leave may be due after a part's last row too.
        if ends[part] < stop or (model.evicts and model.tally[0]["crowded"] != 0):
            publish(counters, _LAST, part + 1)
        publish(counters, _READY, part + 1)


@kernel
def follow(
    model: Model, rates: Rates, batch: Batch, examples: Examples, s: Scratch, relay: Relay,
    logits: F64,
) -> int:  # fmt: skip
    """Learn the parts as they become ready; returns before which row they ended."""
    bounds, ends, counters = relay.bounds, relay.ends, relay.counters
    done: int = bounds[0]
    for part in range(len(ends)):
        if not _wait(counters, _READY, part + 1):
            break
        done, at = ends[part], relay.at[part % AT_ONCE]
        lookahead.learn(model, rates, batch, examples, s, bounds[part], done, at, logits)
        publish(counters, _LEARNED, part + 1)
        if published(counters, _LAST) == part + 1:
            break
    return done
