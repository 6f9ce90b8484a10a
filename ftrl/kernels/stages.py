"""Learning in three stages that different threads can take, each ahead of the next.

`look_up_keys` finds the slots of coordinates, `admit_rows` lets new features in, `update_rows` does
the arithmetic. The first two never read z or n, and the last never reads keys; so they can work on
different rows at the same time. What comes out is, to the byte, what
`ftrl.kernels.learn.learn_rows` gives.

Most coordinates of a row are of common features, whose cache lines the arithmetic writes to all the
time. A core that looked for their keys there would have to fetch these lines from the other core,
and back, for every row. So each thread looks common features up in a cache of its own; see
`hot_key_cache`.
"""

from typing import NamedTuple

import numpy as np

from ftrl.admission import hyperloglog
from ftrl.admission.admission import prefetch_lines
from ftrl.kernels import count_codes
from ftrl.kernels.arguments import Model
from ftrl.kernels.batch import IN_LINE, Batch, Examples, prefetch_row
from ftrl.kernels.learn import ZERO, admit_row, is_repeated, predict_row, update_row
from ftrl.kernels.workspace import (
    FILTER_MASK,
    MOST_FILTERED,
    TILE,
    Workspace,
    coalesce,
    drop_absent,
    may_repeat_by_other_bits,
)
from ftrl.table import layout
from ftrl.table.layout import ABSENT, MaybeHomes, Slots
from streams.compute.aligned import aligned
from streams.compute.arrays import F64, I32, I64, U8, U16, U64
from streams.compute.intrinsics import prefetch, prefetch_to_write
from streams.compute.jit import inlined, kernel

AHEAD = 256  # coordinates: by the time they are searched for, their homes are loaded
SOON = 12  # coordinates without a slot: by the time they are counted, the filters' lines are loaded
HOT_KEYS = 1 << 15  # entries of the cache, so that it stays in a core's own

TALLIED = ("used", "refused", "crowded")  # by `admit_rows`; `update_rows` counts all else

_ENTRY_MASK = np.uint64(HOT_KEYS - 1)
_SKIPPED_BITS = np.uint64(20)  # of a key: an entry goes by others than homes do
_1 = np.uint64(1)


class PartSlots(NamedTuple):
    """The slots of a part's coordinates.

    slot: int32, ABSENT where there is none. missing: int32, which coordinates have none, ascending.
    """

    slot: I32
    missing: I32


def hot_key_cache() -> U64:
    """The slots of common features: for each entry a key and its slot, side by side; 0 at first.

    The cache is right as long as nothing in the table moves.
    """
    cache: U64 = aligned(2 * HOT_KEYS, np.uint64)
    return cache


@inlined
def _entry_of(key: np.uint64) -> np.uint64:
    """Where a key is in a `hot_key_cache`; its slot comes after it."""
    return ((key >> _SKIPPED_BITS) & _ENTRY_MASK) << _1


@kernel
def look_up_keys(
    slots: Slots, homes: MaybeHomes, cache: U64, keys: U64, found: PartSlots, misses: I64
) -> int:
    """Look up `keys` in a `hot_key_cache`, then in the table, and put their slots into `found`.

    Returns how many keys have no slot. misses: space for those not in the cache, int64 [2 * AHEAD].
    """
    slot_of, missing = found.slot, found.missing
    count = before = 0
    for first in range(0, len(keys) + AHEAD, AHEAD):
        half = first & AHEAD
        for i in range(first + AHEAD, min(first + 2 * AHEAD, len(keys)), IN_LINE):
            prefetch(keys, i)
        size = 0
        for i in range(np.uint64(min(first, len(keys))), np.uint64(min(first + AHEAD, len(keys)))):
            entry = _entry_of(keys[i])
            slot_of[i] = np.int64(cache[entry + _1])
            misses[np.uint64(half + size)] = i
            size += 1 if cache[entry] != keys[i] else 0
        for j in range(size):
            prefetch(slots, np.int64(layout.home(slots, homes, keys[misses[half + j]])))
        begin = count
        for j in range(AHEAD - half, AHEAD - half + before):
            miss = np.uint64(misses[np.uint64(j)])
            slot, is_at_home = layout.find_at_home(slots, homes, keys[miss])
            slot_of[miss] = slot
            missing[np.uint64(count)] = miss
            count += 0 if is_at_home else 1
        layout.prefetch_next(slots, homes, keys, missing, begin, count)
        count = layout.find_all(slots, homes, keys, slot_of, missing, begin, count, begin)
        for j in range(AHEAD - half, AHEAD - half + before):
            miss = np.uint64(misses[np.uint64(j)])
            entry = _entry_of(keys[miss])
            cache[entry] = keys[miss] if slot_of[miss] >= 0 else np.uint64(0)
            cache[entry + _1] = np.uint64(slot_of[miss])
        before = size
    return count


class PartAdmission(NamedTuple):
    """What `admit_rows` must know of a part beside its rows.

    missing: how many coordinates `look_up_keys` found no slot for. admitted_in: uint16
    [FILTER_ENTRIES], in which part, modulo 2^16, a key was admitted last whose stored key has these
    bits. number: the part's own. first_unseen: the number of the first part whose new features may
    not have been in the table yet when this part was looked up.
    """

    missing: int
    admitted_in: U16
    number: int
    first_unseen: int


@kernel
def admit_rows(
    model: Model,
    batch: Batch,
    examples: Examples,
    work: Workspace,
    start: int,
    stop: int,
    found: PartSlots,
    part: PartAdmission,
) -> int:
    """Count the sightings in rows from `start` on, up to `stop`, and admit features that are due.

    found: of these rows' coordinates, from `look_up_keys`. Returns `stop` if all are done, else the
    row before which there is something else to do, as `ftrl.kernels.learn.learn_rows` does.
    """
    slots, homes, tally, room = model.table.slots, model.table.homes, model.tally, model.room
    slot_of, missing, admitted_in = found.slot, found.missing, part.admitted_in
    indptr, chosen = batch.indptr, work.chosen
    base = indptr[start]
    keys = batch.keys[base:]
    number, unseen_parts = np.uint16(part.number), np.uint16(part.number - part.first_unseen)
    i = 0
    for row in range(start, stop):
        first, end = indptr[row] - base, indptr[row + 1] - base
        if room < model.max_features and tally[0]["used"] + (end - first) > room:
            return row
        counts, repeats, stamp = not is_repeated(examples, row), False, np.uint16(row)
        absent = 0
        while i < part.missing and missing[i] < end:
            prefetch(keys, np.int64(missing[min(i + 2 * SOON, part.missing - 1)]))
            soon = keys[missing[min(i + SOON, part.missing - 1)]]
            prefetch_lines(model.filters, soon)
            j = missing[i]
            i += 1
            entry = layout.stored_key(homes, keys[j]) & FILTER_MASK
            if np.uint16(number - admitted_in[entry]) <= unseen_parts:
                slot_of[j] = slot_or_absent(slots, homes, keys[j])
            repeats |= work.duplicate_filter[entry] == stamp
            work.duplicate_filter[entry] = stamp
            chosen[absent] = j
            absent += 1 if slot_of[j] < 0 else 0
            if counts and slot_of[j] < 0:
                hyperloglog.observe(model.sketch, keys[j])
        if not counts:
            continue
        if repeats:
            absent = choose_firsts(batch, row, work, slot_of, base)
        if admit_row(model, batch, examples, work, row, keys, slot_of, absent) > 0:
            for k in range(absent):
                if slot_of[chosen[k]] >= 0:
                    admitted_in[layout.stored_key(homes, keys[chosen[k]]) & FILTER_MASK] = number
        if model.evicts and tally[0]["crowded"] != 0:
            return row + 1
    return stop


@inlined
def slot_or_absent(slots: Slots, homes: MaybeHomes, key: np.uint64) -> np.int64:
    """The slot of a key, or ABSENT."""
    slot = layout.find(slots, homes, key)
    return slot if slot >= 0 else np.int64(ABSENT)


@inlined
def choose_firsts(batch: Batch, row: int, work: Workspace, slot_of: I32, base: int) -> int:
    """List a row's coordinates without a slot, the first of each feature, in `work.chosen`.

    Returns how many they are. base: the coordinate that `slot_of` begins with.
    """
    indptr, keys = batch.indptr, batch.keys
    size = coalesce(batch, row, work.dedupe_table, work.keys, work.x, ZERO)
    matched = count = 0
    for i in range(indptr[row], indptr[row + 1]):
        if matched < size and keys[i] == work.keys[matched]:
            matched += 1
            if slot_of[i - base] < 0:
                work.chosen[count] = i - base
                count += 1
    return count


@kernel
def update_rows(
    model: Model,
    batch: Batch,
    examples: Examples,
    work: Workspace,
    start: int,
    stop: int,
    slot_of: I32,
    logits: F64,
) -> None:
    """Predict, then learn, the rows `start` to `stop`, whose coordinates have the slots `slot_of`.

    The next row is picked between a row's prediction and its step, where
    `ftrl.kernels.learn.learn_rows` loads ahead; so two rows take turns with the halves of the
    workspace.
    """
    table, tally, indptr = model.table, model.tally, batch.indptr
    base, begin, size = indptr[start], ZERO, ZERO
    draws_by_key = table.homes is None or model.bits != count_codes.GRADIENTS
    prefetch_slots(table.slots, table.ages, slot_of, ZERO, indptr[min(start + TILE, stop)] - base)
    if start < stop:
        size = pick(batch, start, work, slot_of, base, begin, draws_by_key)
    for row in range(start, stop):
        update = predict_row(model, examples, work, row, begin, size, logits)
        later = min(row + 2 * TILE, stop - 1)
        prefetch_row(batch, examples, later)
        for i in range(indptr[later] - base, indptr[later + 1] - base, 2 * IN_LINE):
            prefetch(slot_of, i)
        if row + TILE < stop:
            first, end = indptr[row + TILE] - base, indptr[row + TILE + 1] - base
            prefetch_slots(table.slots, table.ages, slot_of, first, end)
        next_begin, next_size = len(work.chosen) - begin, ZERO
        if row + 1 < stop:
            next_size = pick(batch, row + 1, work, slot_of, base, next_begin, draws_by_key)
        tally[0]["examples"] += 0 if is_repeated(examples, row) else 1
        update_row(model, examples, work, row, begin, size, update)
        begin, size = next_begin, next_size


@inlined
def prefetch_slots(slots: Slots, ages: U8, slot_of: I32, first: int, end: int) -> None:
    """Load the slots of the coordinates `first` to `end`, which will soon be written to."""
    for i in range(np.uint64(first), np.uint64(end)):
        prefetch_to_write(slots, max(slot_of[i], 0))
        if len(ages) > 0:
            prefetch_to_write(ages, max(slot_of[i], 0))


@inlined
def pick(
    batch: Batch, row: int, work: Workspace, slot_of: I32, base: int, begin: int, with_keys: bool
) -> int:
    """Put a row's coordinates that have a slot into the workspace, from `begin` on.

    Each feature occurs once there. base: the coordinate that `slot_of` begins with. with_keys:
    whether the keys are needed there. Returns how many coordinates they are.
    """
    indptr, keys, values = batch.indptr, batch.keys, batch.values
    first, last, origin = np.uint64(indptr[row]), np.uint64(indptr[row + 1]), np.uint64(base)
    stamp = np.uint16(row)
    repeats = np.uint64(last - first) > MOST_FILTERED
    end = begin
    for i in range(first, last):
        entry, target = keys[i] & FILTER_MASK, np.uint64(end)
        repeats |= work.duplicate_filter[entry] == stamp
        work.duplicate_filter[entry] = stamp
        if with_keys:
            work.keys[target] = keys[i]
        work.slot[target] = slot_of[i - origin]
        if len(values):
            work.x[target] = values[i]
        end += 1 if slot_of[i - origin] >= 0 else 0
    if repeats and may_repeat_by_other_bits(keys, first, last, work.duplicate_filter, stamp):
        size = coalesce(batch, row, work.dedupe_table, work.keys, work.x, begin)
        end = begin
        for i in range(indptr[row], indptr[row + 1]):
            if end < size and keys[i] == work.keys[end]:
                work.slot[end] = slot_of[i - base]
                end += 1
        end = drop_absent(work, begin, end)
    elif len(values) == 0:
        for i in range(np.uint64(begin), np.uint64(end)):
            work.x[i] = 1.0
    return end - begin
