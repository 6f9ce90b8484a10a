"""Learning in three steps that different threads can take, each ahead of the next.

`look_up` finds the slots of coordinates, `admit` lets new features in, `learn` does the arithmetic.
The first two never read z or n, the last never reads keys; so they can work on different rows at
the same time, and what comes out is, to the byte, what `ftrl.kernels.learn.learn` gives.

Most coordinates of a row are of common features, whose cache lines the arithmetic writes to all the
time. A core that looked for their keys there would have to fetch these lines from the other, and
back, for every row. So looking up has its own memory of where the common ones are: see `memo`.
"""

from typing import cast

import numpy as np

from ftrl.admission import admission, hyperloglog
from ftrl.kernels import count_codes
from ftrl.kernels.arguments import Model, Rates
from ftrl.kernels.batch import IN_LINE, Batch, Examples, announce_row
from ftrl.kernels.learn import is_repeated, let_in, predict_row, step_row
from ftrl.kernels.workspace import (
    BLOCK,
    MOSTSTAMPED,
    STAMPED,
    Scratch,
    close_up,
    coalesce,
    is_still_suspect,
)
from ftrl.table import layout
from ftrl.table.layout import ABSENT, Shift, Slots
from streams.compute.arrays import F64, I32, I64, U8, U16, U64
from streams.compute.intrinsics import prefetch, prefetch_to_write
from streams.compute.jit import inlined, kernel

AHEAD = 256  # coordinates: by the time they are searched for, their homes are loaded
SOON = 12  # coordinates without a slot: by the time they are counted, the filters' lines are loaded
PLACES = 1 << 15  # of a memo, which stays in a core's own cache

TALLIED = ("used", "refused", "crowded")  # by `admit`; the rest is of the arithmetic

_PLACE = np.uint64(PLACES - 1)
_BITS = np.uint64(20)  # of a key, not those that homes go by
_1 = np.uint64(1)
_NOTHING = cast(int, np.int64(0))  # see `ftrl.kernels.learn`


def memo() -> U64:
    """Where common features are: a key and its slot, side by side, for each place; 0 at first.

    It is right as long as nothing in the table moves.
    """
    places: U64 = layout.aligned(2 * PLACES, np.uint64)
    return places


@kernel
def look_up(
    slots: Slots, shift: Shift, places: U64, keys: U64, at: I32, away: I32, missed: I64
) -> int:
    """Put the slots of `keys` into `at`, ABSENT where there is none.

    Lists which these are in `away`, and returns their number. places: of a `memo`. missed: scratch,
    int64 [2 * AHEAD].
    """
    count = before = 0
    for first in range(0, len(keys) + AHEAD, AHEAD):
        half = first & AHEAD
        for i in range(first + AHEAD, min(first + 2 * AHEAD, len(keys)), IN_LINE):
            prefetch(keys, i)
        size = 0
        for i in range(np.uint64(min(first, len(keys))), np.uint64(min(first + AHEAD, len(keys)))):
            place = ((keys[i] >> _BITS) & _PLACE) << _1
            at[i] = np.int64(places[place + _1])
            missed[np.uint64(half + size)] = i
            size += 1 if places[place] != keys[i] else 0
        for j in range(size):
            prefetch(slots, np.int64(layout.home(slots, shift, keys[missed[half + j]])))
        begin = count
        for j in range(AHEAD - half, AHEAD - half + before):
            missing = np.uint64(missed[np.uint64(j)])
            slot, there = layout.at_home(slots, shift, keys[missing])
            at[missing] = slot
            away[np.uint64(count)] = missing
            count += 0 if there else 1
        layout.announce_next(slots, shift, keys, away, begin, count)
        count = layout.find_all(slots, shift, keys, at, away, begin, count, begin)
        for j in range(AHEAD - half, AHEAD - half + before):
            missing = np.uint64(missed[np.uint64(j)])
            place = ((keys[missing] >> _BITS) & _PLACE) << _1
            places[place] = keys[missing] if at[missing] >= 0 else np.uint64(0)
            places[place + _1] = np.uint64(at[missing])
        before = size
    return count


@kernel
def admit(
    model: Model,
    batch: Batch,
    examples: Examples,
    s: Scratch,
    start: int,
    stop: int,
    at: I32,
    away: I32,
    count: int,
    came: U16,
    known: int,
    part: int,
) -> int:
    """Count the sightings in rows from `start` on, up to `stop`, and let in what is due.

    at, away, count: of these rows' coordinates, from `look_up`. came: uint16 [STAMPS], in which
    part a key was let in last whose name in the table has that stamp, modulo 2^16; part: the number
    of this one; known: that of the first whose features may not have been there yet when it was
    looked up. Returns `stop` if all are done, else the row before which there is something else to
    do, as `ftrl.kernels.learn.learn` does.
    """
    slots, shift, tally, room = model.slots, model.shift, model.tally, model.room
    indptr, keys, _ = batch
    base = indptr[start]
    found, chosen = keys[base:], s.chosen
    this, since = np.uint16(part), np.uint16(part - known)
    i = 0
    for row in range(start, stop):
        first, end = indptr[row] - base, indptr[row + 1] - base
        if room < model.max_features and tally[0]["used"] + (end - first) > room:
            return row
        counts, suspect, stamp = not is_repeated(examples, row), False, np.uint16(row)
        absent = 0
        while i < count and away[i] < end:
            prefetch(found, np.int64(away[min(i + 2 * SOON, count - 1)]))
            soon = found[away[min(i + SOON, count - 1)]]
            admission.announce(model.words, model.rules, soon)
            j = away[i]
            i += 1
            place = layout.name(shift, found[j]) & STAMPED
            if np.uint16(this - came[place]) <= since:
                at[j] = slot_of(slots, shift, found[j])
            suspect |= s.stamps[place] == stamp
            s.stamps[place] = stamp
            chosen[absent] = j
            absent += 1 if at[j] < 0 else 0
            if counts and at[j] < 0:
                hyperloglog.observe(model.seen, found[j])
        if not counts:
            continue
        if suspect:
            absent = firsts(batch, row, s, at, base)
        if let_in(model, batch, examples, s, row, found, at, absent) > 0:
            for k in range(absent):
                if at[chosen[k]] >= 0:
                    came[layout.name(shift, found[chosen[k]]) & STAMPED] = this
        if model.evicts and tally[0]["crowded"] != 0:
            return row + 1
    return stop


@inlined
def slot_of(slots: Slots, shift: Shift, key: np.uint64) -> np.int64:
    """The slot of a key, or ABSENT."""
    slot = layout.find(slots, shift, key)
    return slot if slot >= 0 else np.int64(ABSENT)


@inlined
def firsts(batch: Batch, row: int, s: Scratch, at: I32, base: int) -> int:
    """List a row's coordinates without a slot, each feature's first, in `s.chosen`.

    Returns how many they are. base: the coordinate that `at` begins with.
    """
    indptr, keys, values = batch
    size = coalesce(indptr, keys, values, row, s.marks, s.found, s.x, _NOTHING)
    known = count = 0
    for i in range(indptr[row], indptr[row + 1]):
        if known < size and keys[i] == s.found[known]:
            known += 1
            if at[i - base] < 0:
                s.chosen[count] = i - base
                count += 1
    return count


@kernel
def learn(
    model: Model, rates: Rates, batch: Batch, examples: Examples, s: Scratch, start: int, stop: int,
    at: I32, logits: F64,
) -> None:  # fmt: skip
    """Predict, then learn, the rows `start` to `stop`, whose coordinates have the slots `at`.

    The next row's are picked between a row's prediction and its step, as `ftrl.kernels.learn.learn`
    loads ahead there; so two rows take turns with the halves of scratch.
    """
    slots, ages, tally, indptr = model.slots, model.ages, model.tally, batch.indptr
    base, begin, size = indptr[start], _NOTHING, _NOTHING
    named = (
        model.shift is None or model.bits != count_codes.GRADIENTS
    )  # roundings are drawn by them
    fetch(slots, ages, at, indptr[start] - base, indptr[min(start + BLOCK, stop)] - base)
    if start < stop:
        size = pick(batch, start, s, at, base, begin, named)
    for row in range(start, stop):
        due = predict_row(model, rates, examples, s, row, begin, size, logits)
        late = min(row + 2 * BLOCK, stop - 1)
        announce_row(batch, examples, late)
        for i in range(indptr[late] - base, indptr[late + 1] - base, 2 * IN_LINE):
            prefetch(at, i)
        if row + BLOCK < stop:
            fetch(slots, ages, at, indptr[row + BLOCK] - base, indptr[row + BLOCK + 1] - base)
        other, more = len(s.chosen) - begin, _NOTHING
        if row + 1 < stop:
            more = pick(batch, row + 1, s, at, base, other, named)
        tally[0]["examples"] += 0 if is_repeated(examples, row) else 1
        step_row(model, rates, examples, s, row, begin, size, due)
        begin, size = other, more


@inlined
def fetch(slots: Slots, ages: U8, at: I32, first: int, end: int) -> None:
    """Have the slots of the coordinates `first` to `end` loaded, for they will be asked for."""
    for i in range(np.uint64(first), np.uint64(end)):
        prefetch_to_write(slots, max(at[i], 0))
        if len(ages) > 0:
            prefetch_to_write(ages, max(at[i], 0))


@inlined
def pick(batch: Batch, row: int, s: Scratch, at: I32, base: int, begin: int, named: bool) -> int:
    """Put a row's coordinates that have a slot into scratch, from `begin` on, each feature once.

    named: whether the keys are needed there. Returns how many they are.
    """
    indptr, keys, values = batch
    first, last, origin = np.uint64(indptr[row]), np.uint64(indptr[row + 1]), np.uint64(base)
    found, x, kept, stamps, stamp = s.found, s.x, s.at, s.stamps, np.uint16(row)
    suspect = np.uint64(last - first) > MOSTSTAMPED
    end = begin
    for i in range(first, last):
        place, there = keys[i] & STAMPED, np.uint64(end)
        suspect |= stamps[place] == stamp
        stamps[place] = stamp
        if named:
            found[there] = keys[i]
        kept[there] = at[i - origin]
        if len(values):
            x[there] = values[i]
        end += 1 if at[i - origin] >= 0 else 0
    if suspect and is_still_suspect(keys, first, last, stamps, stamp):
        size = coalesce(indptr, keys, values, row, s.marks, found, x, begin)
        end = begin
        for i in range(indptr[row], indptr[row + 1]):
            if end < size and keys[i] == found[end]:
                kept[end] = at[i - base]
                end += 1
        end = close_up(found, x, kept, begin, end)
    elif len(values) == 0:
        for i in range(np.uint64(begin), np.uint64(end)):
            x[i] = 1.0
    return end - begin
