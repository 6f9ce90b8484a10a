"""Several threads that learn a batch together, and come to what one would have come to.

The batch is cut into parts. One thread does the arithmetic, part after part. Before that each part
has to be looked up, which threads do beside each other, whichever has time, that of the arithmetic
too when it would have to wait; and its new features are let in, in the order of the parts, by one
of the other threads at a time (`ftrl.kernels.stages`). They tell each other how far they are by
counters in memory, so a part costs no more than a part of the work.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ftrl.kernels import stages
from ftrl.kernels.arguments import Model, Rates
from ftrl.kernels.batch import Batch, Examples
from ftrl.kernels.stages import AHEAD, memo
from ftrl.kernels.workspace import STAMPS, Scratch, scratch_for
from ftrl.table.layout import aligned
from streams.compute.arrays import F64, I32, I64, U16, U64
from streams.compute.intrinsics import CACHE_LINE, advance, give_way, publish, published, rest
from streams.compute.jit import inlined, kernel

PART = 1 << 13  # coordinates
FEWEST = 4  # parts: of fewer, threads would mostly wait for each other
AT_ONCE = 8  # parts that are looked up or learned, each with space of its own
MOST_SLOTS = 1 << 31  # of 32 bits each, for all of them go from core to core
PATIENCE = 256  # how often a thread asks before it sleeps in between

# Which counter tells how many parts somebody looks up or has, how many are ready to be learned, how
# many are learned, how many will be, whether anybody lets features in, and whether all is over;
# each in a cache line of its own.
TAKEN, _READY, _LEARNED, _LAST, _LETS_IN, _OVER = (n * CACHE_LINE // 8 for n in range(6))
COUNTERS = _OVER + 1


class Relay(NamedTuple):
    """What the threads share while they learn a batch.

    bounds: int64 [parts + 1], of the rows. ends: int64 [parts], before which row each part ended;
    at first where it would. counters: int64 [COUNTERS], see `TAKEN`. looked_up: int64 [parts], 0,
    or one more than the coordinates without a slot are, once a part is looked up; known: int64
    [parts], how many parts were ready when that began. at, away: int32 [AT_ONCE, PART], the slots
    of the parts' coordinates, and which have none. came: uint16 [STAMPS], see
    `ftrl.kernels.stages.admit`.
    """

    bounds: I64
    ends: I64
    counters: I64
    looked_up: I64
    known: I64
    at: I32
    away: I32
    came: U16


class _Own(NamedTuple):
    """What a thread looks up with; see `ftrl.kernels.stages.look_up`."""

    places: U64
    missed: I64


class Team:
    """Threads that learn together."""

    def __init__(self, threads: int) -> None:
        """threads: 2 or more, this one included."""
        self._pool = ThreadPoolExecutor(threads - 1, "clickloop-look-up")
        self._at, self._away = np.empty((2, AT_ONCE, PART), np.int32)
        self._came = np.zeros(STAMPS, np.uint16)
        self._own = [_Own(memo(), np.empty(2 * AHEAD, np.int64)) for _ in range(threads)]

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

        Returns where to go on, which is as of `ftrl.kernels.learn.learn`, or earlier, where one
        thread alone should; `start` if that is so from there on, for the rows are too few, or too
        long, or the slots more than MOST_SLOTS.
        """
        bounds = np.empty(stop - start + 1, np.int64)
        parts = _cut(batch.indptr, start, stop, PART, bounds)
        if parts < FEWEST or len(model.slots) > MOST_SLOTS:
            return start
        bounds = bounds[: parts + 1]
        counters: I64 = aligned(COUNTERS, np.int64)
        counters[_LAST] = parts
        looked_up, known = np.zeros((2, parts), np.int64)
        relay = Relay(
            bounds, bounds[1:].copy(), counters, looked_up, known, self._at, self._away, self._came
        )
        ahead = model._replace(tally=model.tally.copy())
        mine, *theirs = self._own
        others = [
            self._pool.submit(self._prepare, ahead, batch, examples, relay, own) for own in theirs
        ]
        s.marks.fill(-1)
        mine.places.fill(0)
        try:
            done = follow(model, rates, batch, examples, s, relay, *mine, logits)
        finally:
            relay.counters[_OVER] = 1
        for other in others:
            other.result()
        for name in stages.TALLIED:
            model.tally[name] = ahead.tally[name]
        return done

    def _prepare(
        self, model: Model, batch: Batch, examples: Examples, relay: Relay, own: _Own
    ) -> None:
        own.places.fill(0)
        try:
            look_ahead(model, batch, examples, scratch_for(batch), relay, *own)
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


@inlined
def _pause(asked: int) -> int:
    """Wait a moment, having asked so often already; returns how often that is now."""
    if asked < PATIENCE:
        give_way()
    else:
        rest()
    return asked + 1


@kernel
def _look_up_next(model: Model, batch: Batch, relay: Relay, places: U64, missed: I64) -> bool:
    """Look up the next part that nobody has taken; returns whether there was one, with space."""
    counters, (indptr, keys, _) = relay.counters, batch
    part = published(counters, TAKEN)
    most = min(published(counters, _LAST), published(counters, _LEARNED) + AT_ONCE)
    if part >= most or not advance(counters, TAKEN, part):
        return False
    relay.known[part] = published(counters, _READY)
    some = keys[indptr[relay.bounds[part]] : indptr[relay.bounds[part + 1]]]
    at, away = relay.at[part % AT_ONCE], relay.away[part % AT_ONCE]
    count = stages.look_up(model.slots, model.shift, places, some, at, away, missed)
    publish(relay.looked_up, part, count + 1)
    return True


@kernel
def _admit_next(model: Model, batch: Batch, examples: Examples, s: Scratch, relay: Relay) -> bool:
    """Let in the new features of the parts that are next, as far as they are looked up.

    Returns whether there were any parts, and no other thread about it.
    """
    bounds, ends, counters = relay.bounds, relay.ends, relay.counters
    part = published(counters, _READY)
    if not _is_looked_up(relay, part) or not advance(counters, _LETS_IN, 0):
        return False
    part = published(counters, _READY)
    while _is_looked_up(relay, part):
        stop, count = bounds[part + 1], relay.looked_up[part] - 1
        at, away = relay.at[part % AT_ONCE], relay.away[part % AT_ONCE]
        ends[part] = stages.admit(
            model, batch, examples, s, bounds[part], stop, at, away, count, relay.came,
            relay.known[part], part,
        )  # fmt: skip
        # Features that have to leave may be due after a part's last row too.
        if ends[part] < stop or (model.evicts and model.tally[0]["crowded"] != 0):
            publish(counters, _LAST, part + 1)
        part += 1
        publish(counters, _READY, part)
    publish(counters, _LETS_IN, 0)
    return True


@inlined
def _is_looked_up(relay: Relay, part: int) -> bool:
    """Whether a part will be learned and is looked up."""
    return bool(part < published(relay.counters, _LAST) and published(relay.looked_up, part) > 0)


@kernel
def look_ahead(
    model: Model, batch: Batch, examples: Examples, s: Scratch, relay: Relay, places: U64,
    missed: I64,
) -> None:  # fmt: skip
    """Prepare parts together with other threads, until all are ready to be learned."""
    counters, asked = relay.counters, 0
    while published(counters, _READY) < published(counters, _LAST):
        prepared = _admit_next(model, batch, examples, s, relay)
        if prepared or _look_up_next(model, batch, relay, places, missed):
            asked = 0
        elif published(counters, _OVER) != 0:
            break
        else:
            asked = _pause(asked)


@kernel
def follow(
    model: Model, rates: Rates, batch: Batch, examples: Examples, s: Scratch, relay: Relay,
    places: U64, missed: I64, logits: F64,
) -> int:  # fmt: skip
    """Learn the parts as they become ready, and look others up until they do.

    Returns before which row they ended.
    """
    bounds, ends, counters = relay.bounds, relay.ends, relay.counters
    asked = part = 0
    done: int = bounds[0]
    while part < published(counters, _LAST):
        if part < published(counters, _READY):
            done, at = ends[part], relay.at[part % AT_ONCE]
            stages.learn(model, rates, batch, examples, s, bounds[part], done, at, logits)
            part += 1
            publish(counters, _LEARNED, part)
            asked = 0
        elif _look_up_next(model, batch, relay, places, missed):
            asked = 0
        elif published(counters, _OVER) != 0:
            break
        else:
            asked = _pause(asked)
    return done
