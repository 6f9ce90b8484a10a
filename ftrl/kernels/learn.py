"""FTRL-Proximal, one example after the other.

McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1. All
arithmetic is in float64; only storing rounds, to the table's layout.
"""

import math
from typing import NamedTuple, cast

import numpy as np

from ftrl.admission import hyperloglog
from ftrl.admission.admission import (
    Candidates,
    RowThresholds,
    admission_context,
    admit,
    prefetch_lines,
)
from ftrl.admission.generations import start_example
from ftrl.kernels import count_codes, count_slot_codec
from ftrl.kernels.arguments import FULL, Model, Rates
from ftrl.kernels.batch import CORRECTION, LIMIT, Batch, Examples, prefetch_row
from ftrl.kernels.count_codes import Tally
from ftrl.kernels.slot_codec import SlotCodec, load, rounding_context, store
from ftrl.kernels.workspace import TILE, Workspace, drop_absent, gather, in_lanes, look_up
from ftrl.logistic import sigmoid
from ftrl.table import layout
from ftrl.table.layout import ABSENT, BUCKET, EMPTY, MaybeHomes, TableArrays
from streams.compute.arrays import F64, I64, U8, U64, Ints
from streams.compute.intrinsics import prefetch
from streams.compute.jit import inlined, kernel

# With a literal 0 Numba compiles whatever is called with it twice: for the literal, and for int64.
ZERO = cast(int, np.int64(0))
_1 = np.uint64(1)
_63 = np.uint64(63)


class RowUpdate(NamedTuple):
    """The step that is due for a row.

    slope: the gradient by the logit, which moves z. n_slope: the slope by whose square n grows.
    bias, bias_root: the bias before the step, and √n of it.
    """

    slope: float
    n_slope: float
    bias: float
    bias_root: float


@kernel
def clip(value: float, limit: float) -> float:
    """`value`, brought into ±`limit`."""
    return min(max(value, -limit), limit)


@kernel
def weight(z: float, root: float, rates: Rates, l1: float) -> float:
    """The weight of z and √n (Algorithm 1), its fraction multiplied by α.

    w = 0 if |z| ≤ λ1, else -(z - sgn(z) λ1) / ((β + √n) / α + λ2)
    """
    return (clip(z, l1) - z) * rates.alpha / (rates.beta + root + rates.alpha * rates.l2)


@inlined
def prefetch_homes(table: TableArrays, keys: U64, first: int, end: int) -> None:
    """Load the homes of the keys `first` to `end`, which will soon be searched."""
    aged = len(table.ages) > 0
    for i in range(np.uint64(first), np.uint64(end)):  # an index that may be negative costs more
        home = np.int64(layout.home(table.slots, table.homes, keys[i]))
        prefetch(table.slots, home)
        if aged:
            prefetch(table.ages, home)


@inlined
def renew_ages(ages: U8, slot_of: I64, begin: int, end: int, tally: Tally, epoch: int) -> None:
    """Set the ages of a tile's coordinates `begin` to `end` to the present epoch."""
    if len(ages) > 0:
        now = np.uint8((tally[0]["examples"] // epoch) & 255)
        for j in range(begin, end):
            ages[np.uint64(slot_of[np.uint64(j)])] = now


@inlined
def insert(model: Model, keys: U64, slot_of: Ints, chosen: I64, size: int) -> int:
    """Give slots to the keys `keys[chosen[i]]`, i < `size`; refuse them where there is no room.

    Puts the slots into `slot_of` and returns how many there are. `crowded` of the tally says where
    there was no room last.
    """
    slots, homes, tally = model.table.slots, model.table.homes, model.tally
    given = 0
    for i in range(size):
        slot = np.int64(ABSENT)
        key = keys[chosen[i]]
        full = tally[0]["used"] >= model.max_features
        if not full:
            slot = layout.slot_for(slots, homes, key)
        if slot >= 0:
            tally[0]["used"] += 1 if slots[slot]["key"] == EMPTY else 0
            slots[slot]["key"] = layout.stored_key(homes, key)
            slot_of[chosen[i]] = slot
            given += 1
        else:
            tally[0]["refused"] += 1
            tally[0]["crowded"] = (
                FULL if full else 1 + np.int64(layout.bucket_of(len(slots) // BUCKET, key))
            )
    return given


@inlined
def dot(work: Workspace, begin: int, size: int, rates: Rates) -> float:
    """x·w of `size` coordinates of a tile; leaves w in the workspace."""
    for j in range(in_lanes(size)):
        work.w[j] = weight(work.z[j], work.root[j], rates, rates.l1)
    total = 0.0
    for j in range(size):
        total += work.x[np.uint64(begin + j)] * work.w[j]
    return total


@inlined
def step(
    work: Workspace, begin: int, size: int, rates: Rates, slope: float, n_slope: float
) -> None:
    """Move z and n in the workspace (Algorithm 1).

    g = slope·x, n' = n + (n_slope·x)², σ = (√n' - √n) / α, z' = z + g - σ w. For a first label
    `n_slope` is `slope`.
    """
    inverse_alpha = 1 / rates.alpha
    for j in range(in_lanes(size)):
        x = work.x[np.uint64(begin + j)]
        g = clip(slope * x, LIMIT)
        h = clip(n_slope * x, LIMIT)
        work.n[j] += h * h
        work.z[j] += g - (math.sqrt(work.n[j]) - work.root[j]) * inverse_alpha * work.w[j]


@inlined
def slopes(
    p: float, label: int, kind: int, repeats: bool, omega: float, rate: float
) -> tuple[float, float]:
    """`slope` and `n_slope` of a row; see `learn_rows`."""
    n_slope = omega * (p - (1 if kind == CORRECTION else label))
    return (clip(n_slope - omega * p / rate, LIMIT) if repeats else n_slope), n_slope


@inlined
def step_bias(tally: Tally, rates: Rates, update: RowUpdate) -> None:
    """Move the bias' z and n, as `step` does those of a coordinate where x is 1."""
    n = tally[0]["bias_n"] + update.n_slope * update.n_slope
    sigma = (math.sqrt(n) - update.bias_root) / rates.alpha
    tally[0]["bias_z"] += update.slope - sigma * update.bias
    tally[0]["bias_n"] = n


@inlined
def note_rounding(homes: MaybeHomes, tally: Tally, error: F64, size: int) -> None:
    """Add one coordinate of a row to the statistics of roundings."""
    if homes is None and size > 0:
        tally[0]["rounded"] += 1
        tally[0]["rounding"] += abs(error[0])


@inlined
def is_repeated(examples: Examples, row: int) -> bool:
    """Whether a row is the correction of an example that was learned from."""
    return bool(examples.kind[row] == CORRECTION and examples.kept[row])


@inlined
def key_bits(homes: MaybeHomes, keys: U64, missing: I64, first: int, end: int) -> np.uint64:
    """A set, as 64 bits, of the stored keys of `keys[missing[i]]`, first ≤ i < end.

    Two sets that share no bit share no key.
    """
    bits = np.uint64(0)
    for i in range(first, end):
        bits |= _1 << (layout.stored_key(homes, keys[missing[i]]) & _63)
    return bits


@inlined
def admit_row(
    model: Model,
    batch: Batch,
    examples: Examples,
    work: Workspace,
    row: int,
    keys: U64,
    slot_of: Ints,
    absent: int,
) -> int:
    """Begin a row that sights its features for the first time, and admit those that are due.

    The features outside the table are `keys[work.chosen[i]]`, i < `absent`, each once. Admitted
    ones get their slots in `slot_of`, and come to the front of `chosen`. Returns how many have got
    a slot.
    """
    filters, tally, chosen = model.filters, model.tally, work.chosen
    start_example(filters, tally[0]["examples"], examples.ts[row])
    tally[0]["examples"] += 1
    if absent == 0:
        return 0
    context = admission_context(filters.rules, model.seed, examples.place[row], examples.kind[row])
    candidates = Candidates(keys, chosen, work.totals, absent)
    thresholds = RowThresholds(examples.thresholds, batch.keys, batch.indptr[row])
    admitted = admit(filters, context, candidates, thresholds)
    return insert(model, keys, slot_of, chosen, admitted)


@inlined
def predict_row(
    model: Model, examples: Examples, work: Workspace, row: int, begin: int, size: int, logits: F64
) -> RowUpdate:
    """Predict a row that is to be learned: `size` coordinates of a tile, from `begin` on.

    All of these have slots. Leaves z, n and w in the workspace for `update_row`.
    """
    tally, rates = model.tally, model.rates
    kind, kept, label = examples.kind[row], examples.kept[row], examples.label[row]
    if model.bits == count_codes.GRADIENTS:
        load(model, work, begin, size)
    else:
        count_codes.count_negative(tally, kind, kept, label, examples.rate[row])
        codec = SlotCodec(model.bits, count_codes.average(tally), rates)
        count_slot_codec.load(model.table.slots, model.table.homes, codec, work, begin, size)

    bias_root = math.sqrt(tally[0]["bias_n"])
    bias = weight(tally[0]["bias_z"], bias_root, rates, 0.0)
    logits[row] = examples.offset[row] + bias + dot(work, begin, size, rates)
    p = sigmoid(logits[row])
    slope, n_slope = slopes(
        p, label, kind, is_repeated(examples, row), examples.omega[row], examples.rate[row]
    )
    return RowUpdate(slope, n_slope, bias, bias_root)


@inlined
def update_row(
    model: Model,
    examples: Examples,
    work: Workspace,
    row: int,
    begin: int,
    size: int,
    update: RowUpdate,
) -> None:
    """Learn from a row that has just been predicted by `predict_row`; see `learn_rows`."""
    table, tally, rates = model.table, model.tally, model.rates
    kind, place = examples.kind[row], examples.place[row]
    if model.bits == count_codes.GRADIENTS:
        step(work, begin, size, rates, update.slope, update.n_slope)
        context = rounding_context(table.homes, model.seed, place, kind)
        saturated = store(model, work, begin, size, context)
    else:
        spread = count_codes.average(tally)
        increments = count_codes.count_increments(
            kind, examples.kept[row], examples.label[row], examples.omega[row], examples.rate[row]
        )
        context = rounding_context(None, model.seed, place, kind)
        saturated = count_slot_codec.count(
            model.bits, work, begin, size, increments, spread, context
        )
        count_slot_codec.step(work, begin, size, rates.alpha, update.slope)
        saturated += count_slot_codec.store(table, work, begin, size, rates, context)
    renew_ages(table.ages, work.slot, begin, begin + size, tally, model.epoch)
    tally[0]["saturated"] += saturated
    note_rounding(table.homes, tally, work.root, size)
    step_bias(tally, rates, update)


@kernel
def learn_rows(
    model: Model,
    batch: Batch,
    examples: Examples,
    work: Workspace,
    start: int,
    stop: int,
    logits: F64,
) -> int:
    """Predict, then learn, the rows from `start` up to `stop`; each row's logit goes to `logits`.

    Returns `stop` when all are done, else the row before which the table must grow, or something
    must leave it; nothing of that row has been learned.

    A first label has g = ω(p - y)x. A correction replaces a negative by a positive: g =
    ω₀[(p - 1) - p/r]x if the negative was trained on, ω₀(p - 1)x if it was sampled out, and
    n grows by the positive's own (ω₀(p - 1)x)². The features of a negative that was trained on
    were sighted then, so they neither enter the table now nor count for admission.

    Rows are looked up a tile at a time, while the next tile's cache lines are being loaded. Those
    loads are issued between a row's prediction and its step, for the step waits for the logit,
    which is a sum of one product after the other. A row may have features in the table that came
    after its tile was looked up, so a row that may have one is looked up again.
    """
    table, filters = model.table, model.filters
    slots, homes, room, tally = table.slots, table.homes, model.room, model.tally
    indptr = batch.indptr
    keys, slot_of, missing = work.keys, work.slot, work.missing
    prefetch_homes(table, batch.keys, indptr[start], indptr[min(start + TILE, stop)])
    for first in range(start, stop, TILE):
        last = min(first + TILE, stop)
        end = missing_end = ZERO
        for row in range(first, last):
            begin, missing_begin = end, missing_end
            end = gather(batch, row, work, end)
            missing_end = look_up(slots, homes, work, begin, end, missing_end)
            layout.prefetch_next(slots, homes, keys, missing, missing_begin, missing_end)
            work.ends[row - first], work.missing_ends[row - first] = end, missing_end
        listed_end = missing_end = ZERO
        for row in range(first, last):
            listed_begin, listed_end = listed_end, work.missing_ends[row - first]
            missing_begin = missing_end
            missing_end = layout.find_all(
                slots, homes, keys, slot_of, missing, listed_begin, listed_end, missing_begin
            )
            for i in range(missing_begin, missing_end):
                prefetch_lines(filters, keys[missing[i]])
            work.missing_ends[row - first] = missing_end
        end = missing_end = ZERO
        inserted = np.uint64(0)  # see `key_bits`
        for row in range(first, last):
            length = indptr[row + 1] - indptr[row]
            if room < model.max_features and tally[0]["used"] + length > room:
                return row
            begin, end = end, work.ends[row - first]
            missing_begin, missing_end = missing_end, work.missing_ends[row - first]
            absent = missing_end - missing_begin
            if key_bits(homes, keys, missing, missing_begin, missing_end) & inserted != 0:
                absent = (
                    layout.find_all(
                        slots, homes, keys, slot_of, missing, missing_begin, missing_end,
                        missing_begin,
                    )
                    - missing_begin
                )  # fmt: skip
            if not is_repeated(examples, row):
                for i in range(absent):
                    work.chosen[i] = missing[missing_begin + i]
                    hyperloglog.observe(model.sketch, keys[work.chosen[i]])
                given = admit_row(model, batch, examples, work, row, keys, slot_of, absent)
                if given > 0:
                    inserted |= key_bits(
                        homes, keys, missing, missing_begin, missing_begin + absent
                    )
                    absent -= given
            size = end - begin
            if absent > 0:
                size = drop_absent(work, missing[missing_begin], end) - begin
            update = predict_row(model, examples, work, row, begin, size, logits)
            prefetch_row(batch, examples, min(row + 2 * TILE, stop - 1))
            if row + TILE < stop:
                prefetch_homes(table, batch.keys, indptr[row + TILE], indptr[row + TILE + 1])
            update_row(model, examples, work, row, begin, size, update)
            if model.evicts and tally[0]["crowded"] != 0:
                return row + 1
    return stop
