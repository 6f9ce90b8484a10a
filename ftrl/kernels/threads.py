"""Several threads that learn a batch together, and come to what one thread would have come to.

The batch is cut into parts, each of which takes three stages (`ftrl.kernels.stages`):

- One thread does the arithmetic, part after part, in the order of the parts.
- Before its arithmetic a part is looked up, by whichever thread has time; the thread of the
  arithmetic takes its turn when it would have to wait.
- In between the part's new features are admitted, in the order of the parts, by one of the other
  threads at a time.

The threads tell each other how far they are by counters in memory, which takes next to no time.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ftrl.kernels import stages
from ftrl.kernels.arguments import Model
from ftrl.kernels.batch import Batch, Examples
from ftrl.kernels.stages import AHEAD, PartAdmission, PartSlots, hot_key_cache
from ftrl.kernels.workspace import FILTER_ENTRIES, Workspace, workspace_for
from streams.compute.aligned import aligned
from streams.compute.arrays import F64, I32, I64, U16, U64
from streams.compute.intrinsics import (
    CACHE_LINE,
    compare_and_advance,
    load_acquire,
    sleep_briefly,
    store_release,
    yield_core,
)
from streams.compute.jit import inlined, kernel

PART = 1 << 13  # coordinates
FEWEST_PARTS = 4  # of fewer parts, threads would mostly wait for each other
AT_ONCE = 8  # parts that are looked up or learned, each with space of its own
MOST_SLOTS = 1 << 31  # slots have 32 bits here, for their numbers go from core to core
SPIN_LIMIT = 256  # how often a thread asks again at once, before it sleeps in between

# The counters: how many parts a thread looks up or has looked up (TAKEN), how many are ready to be
# learned, how many are learned, how many there will be, whether a thread admits features, and
# whether all is over; each in a cache line of its own.
TAKEN, _READY, _LEARNED, _LAST, _ADMITTING, _OVER = (n * CACHE_LINE // 8 for n in range(6))
COUNTERS = _OVER + 1


class SharedState(NamedTuple):
    """What the threads share while they learn a batch.

    bounds: int64 [parts + 1], of the rows. ends: int64 [parts], before which row each part ended;
    at first where it would. counters: int64 [COUNTERS], see `TAKEN`. looked_up: int64 [parts], 0,
    or one more than there are coordinates without a slot, once a part is looked up; ready_then:
    int64 [parts], how many parts were ready when that began. slot, missing: int32 [AT_ONCE, PART],
    see `PartSlots`. admitted_in: uint16 [FILTER_ENTRIES], see `PartAdmission`.
    """

    bounds: I64
    ends: I64
    counters: I64
    looked_up: I64
    ready_then: I64
    slot: I32
    missing: I32
    admitted_in: U16


class LookupSpace(NamedTuple):
    """What a thread looks up with; see `ftrl.kernels.stages.look_up_keys`."""

    cache: U64
    misses: I64


class WorkerPool:
    """Threads that learn together."""

    def __init__(self, threads: int) -> None:
        """threads: 2 or more, the calling one included."""
        self._pool = ThreadPoolExecutor(threads - 1, "clickloop-look-up")
        self._slot, self._missing = np.empty((2, AT_ONCE, PART), np.int32)
        self._admitted_in = np.zeros(FILTER_ENTRIES, np.uint16)
        self._spaces = [
            LookupSpace(hot_key_cache(), np.empty(2 * AHEAD, np.int64)) for _ in range(threads)
        ]

    def learn_rows(
        self,
        model: Model,
        batch: Batch,
        examples: Examples,
        work: Workspace,
        start: int,
        stop: int,
        logits: F64,
    ) -> int:
        """Predict, then learn, rows from `start` on, up to `stop`; each one's logit to `logits`.

        Returns the row to go on from: the same as `ftrl.kernels.learn.learn_rows` does, or an
        earlier one from which one thread should go on alone. That is `start` if the rows are too
        few or too long, or the slots more than MOST_SLOTS.
        """
        bounds = np.empty(stop - start + 1, np.int64)
        parts = _split_into_parts(batch.indptr, start, stop, PART, bounds)
        if parts < FEWEST_PARTS or len(model.table.slots) > MOST_SLOTS:
            return start
        bounds = bounds[: parts + 1]
        counters: I64 = aligned(COUNTERS, np.int64)
        counters[_LAST] = parts
        looked_up, ready_then = np.zeros((2, parts), np.int64)
        shared = SharedState(
            bounds=bounds,
            ends=bounds[1:].copy(),
            counters=counters,
            looked_up=looked_up,
            ready_then=ready_then,
            slot=self._slot,
            missing=self._missing,
            admitted_in=self._admitted_in,
        )
        ahead = model._replace(tally=model.tally.copy())
        first_space, *other_spaces = self._spaces
        others = [
            self._pool.submit(self._prepare, ahead, batch, examples, shared, space)
            for space in other_spaces
        ]
        work.dedupe_table.fill(-1)
        first_space.cache.fill(0)
        try:
            done = learn_parts(model, batch, examples, work, shared, first_space, logits)
        finally:
            shared.counters[_OVER] = 1
        for other in others:
            other.result()
        for name in stages.TALLIED:
            model.tally[name] = ahead.tally[name]
        return done

    def _prepare(
        self,
        model: Model,
        batch: Batch,
        examples: Examples,
        shared: SharedState,
        space: LookupSpace,
    ) -> None:
        """Prepare parts, as each thread but the calling one does."""
        space.cache.fill(0)
        try:
            prepare_parts(model, batch, examples, workspace_for(batch), shared, space)
        except BaseException:
            shared.counters[_OVER] = 1  # or the thread of the arithmetic would wait forever
            raise


@kernel
def _split_into_parts(indptr: I64, start: int, stop: int, most: int, bounds: I64) -> int:
    """Split rows into parts of `most` coordinates at most, up to the first row that is longer.

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
    """Wait a moment, after so many questions in vain; returns how many that is now."""
    if asked < SPIN_LIMIT:
        yield_core()
    else:
        sleep_briefly()
    return asked + 1


@inlined
def _slots_of_part(shared: SharedState, part: int) -> PartSlots:
    """The space for a part's slots, which other parts have before and after it."""
    return PartSlots(shared.slot[part % AT_ONCE], shared.missing[part % AT_ONCE])


@kernel
def _look_up_next(model: Model, batch: Batch, shared: SharedState, space: LookupSpace) -> bool:
    """Look up the next part that no thread has taken; returns whether there was one, with space."""
    counters, indptr = shared.counters, batch.indptr
    part = load_acquire(counters, TAKEN)
    most = min(load_acquire(counters, _LAST), load_acquire(counters, _LEARNED) + AT_ONCE)
    if part >= most or not compare_and_advance(counters, TAKEN, part):
        return False
    shared.ready_then[part] = load_acquire(counters, _READY)
    keys = batch.keys[indptr[shared.bounds[part]] : indptr[shared.bounds[part + 1]]]
    found = _slots_of_part(shared, part)
    count = stages.look_up_keys(
        model.table.slots, model.table.homes, space.cache, keys, found, space.misses
    )
    store_release(shared.looked_up, part, count + 1)
    return True


@kernel
def _admit_next(
    model: Model, batch: Batch, examples: Examples, work: Workspace, shared: SharedState
) -> bool:
    """Admit the new features of the parts that are next, as far as they are looked up.

    Returns whether there were any parts, and no other thread that admitted theirs.
    """
    bounds, ends, counters = shared.bounds, shared.ends, shared.counters
    part = load_acquire(counters, _READY)
    if not _is_looked_up(shared, part) or not compare_and_advance(counters, _ADMITTING, 0):
        return False
    part = load_acquire(counters, _READY)
    while _is_looked_up(shared, part):
        stop = bounds[part + 1]
        admission = PartAdmission(
            shared.looked_up[part] - 1, shared.admitted_in, part, shared.ready_then[part]
        )
        found = _slots_of_part(shared, part)
        ends[part] = stages.admit_rows(
            model, batch, examples, work, bounds[part], stop, found, admission
        )
        # Features may have to leave after a part's last row, too.
        if ends[part] < stop or (model.evicts and model.tally[0]["crowded"] != 0):
            store_release(counters, _LAST, part + 1)
        part += 1
        store_release(counters, _READY, part)
    store_release(counters, _ADMITTING, 0)
    return True


@inlined
def _is_looked_up(shared: SharedState, part: int) -> bool:
    """Whether a part will be learned and is looked up."""
    return bool(
        part < load_acquire(shared.counters, _LAST) and load_acquire(shared.looked_up, part) > 0
    )


@kernel
def prepare_parts(
    model: Model,
    batch: Batch,
    examples: Examples,
    work: Workspace,
    shared: SharedState,
    space: LookupSpace,
) -> None:
    """Prepare parts together with other threads, until all are ready to be learned."""
    counters, asked = shared.counters, 0
    while load_acquire(counters, _READY) < load_acquire(counters, _LAST):
        prepared = _admit_next(model, batch, examples, work, shared)
        if prepared or _look_up_next(model, batch, shared, space):
            asked = 0
        elif load_acquire(counters, _OVER) != 0:
            break
        else:
            asked = _pause(asked)


@kernel
def learn_parts(
    model: Model,
    batch: Batch,
    examples: Examples,
    work: Workspace,
    shared: SharedState,
    space: LookupSpace,
    logits: F64,
) -> int:
    """Learn the parts as they become ready, and look other parts up until they do.

    Returns the row before which the last part ended.
    """
    bounds, ends, counters = shared.bounds, shared.ends, shared.counters
    asked = part = 0
    done: int = bounds[0]
    while part < load_acquire(counters, _LAST):
        if part < load_acquire(counters, _READY):
            done, slot_of = ends[part], shared.slot[part % AT_ONCE]
            stages.update_rows(model, batch, examples, work, bounds[part], done, slot_of, logits)
            part += 1
            store_release(counters, _LEARNED, part)
            asked = 0
        elif _look_up_next(model, batch, shared, space):
            asked = 0
        elif load_acquire(counters, _OVER) != 0:
            break
        else:
            asked = _pause(asked)
    return done
