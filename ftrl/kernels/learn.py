"""FTRL-Proximal, one example after the other.

McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1. All
arithmetic is in float64; only storing rounds, to the table's layout. Kernels hand each other
plain arrays: an array taken out of a tuple costs atomic reference counts.
"""

import math
from typing import NamedTuple, cast

import numpy as np

from ftrl.admission import admission, generations, hyperloglog
from ftrl.kernels import count_codes, count_slot_codec
from ftrl.kernels.arguments import FULL, Model, Rates, Tally
from ftrl.kernels.batch import CORRECTION, LIMIT, Batch, Examples, announce_row
from ftrl.kernels.slot_codec import circumstances, load, store
from ftrl.kernels.workspace import BLOCK, Scratch, close_up, gather, in_lanes, look_up
from ftrl.table import layout
from streams.compute.arrays import F64, I64, U8, U64, Ints
from streams.compute.intrinsics import prefetch
from streams.compute.jit import inlined, kernel

# With a literal 0 Numba compiles whatever is called with it twice: for the literal, and for int64.
_NOTHING = cast(int, np.int64(0))
_1 = np.uint64(1)
_63 = np.uint64(63)


class Step(NamedTuple):
    """What a row's step goes by. slope: the gradient by the logit; own: that which n grows by.

    bias, root: the bias before it, and √n of it.
    """

    slope: float
    own: float
    bias: float
    root: float


@kernel
def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1 + odds)


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
def announce(
    slots: layout.Slots, ages: U8, shift: layout.Shift, keys: U64, first: int, end: int
) -> None:
    """Have the homes of the keys `first` to `end` loaded, for they will be asked for."""
    aged = len(ages) > 0
    for i in range(np.uint64(first), np.uint64(end)):  # an index that may be negative costs more
        home = np.int64(layout.home(slots, shift, keys[i]))
        prefetch(slots, home)
        if aged:
            prefetch(ages, home)


@inlined
def note_seen(ages: U8, at: I64, begin: int, end: int, tally: Tally, epoch: int) -> None:
    """Say that the slots of the coordinates `begin` to `end` of a block are seen now."""
    if len(ages) > 0:
        now = np.uint8((tally[0]["examples"] // epoch) & 255)
        for j in range(begin, end):
            ages[np.uint64(at[np.uint64(j)])] = now


@inlined
def insert(
    slots: layout.Slots,
    shift: layout.Shift,
    max_features: int,
    tally: Tally,
    keys: U64,
    at: Ints,
    chosen: I64,
    size: int,
) -> int:
    """Give slots to the keys `keys[chosen[i]]`, i < `size`; refuse them where there is no room.

    Returns how many slots it has given; `crowded` says where there was no room last.
    """
    given = 0
    for i in range(size):
        slot = np.int64(layout.ABSENT)
        key = keys[chosen[i]]
        full = tally[0]["used"] >= max_features
        if not full:
            slot = layout.place_for(slots, shift, key)
        if slot >= 0:
            tally[0]["used"] += 1 if slots[slot]["key"] == layout.EMPTY else 0
            slots[slot]["key"] = layout.name(shift, key)
            at[chosen[i]] = slot
            given += 1
        else:
            tally[0]["refused"] += 1
            tally[0]["crowded"] = (
                FULL if full else 1 + np.int64(layout.group_of(len(slots) // layout.GROUP, key))
            )
    return given


@inlined
def dot(s: Scratch, begin: int, size: int, rates: Rates) -> float:
    """x·w of `size` coordinates of a block; leaves w in scratch."""
    x, z, root, w = s.x, s.z, s.root, s.w
    for j in range(in_lanes(size)):
        w[j] = weight(z[j], root[j], rates, rates.l1)
    total = 0.0
    for j in range(size):
        total += x[np.uint64(begin + j)] * w[j]
    return total


@inlined
def step(s: Scratch, begin: int, size: int, rates: Rates, slope: float, own: float) -> None:
    """Move z and n in scratch (Algorithm 1).

    g = slope·x, n' = n + (own·x)², σ = (√n' - √n) / α, z' = z + g - σ w. For a first label
    `own` is `slope`.
    """
    x, z, n, root, w = s.x, s.z, s.n, s.root, s.w
    pace = 1 / rates.alpha
    for j in range(in_lanes(size)):
        value = x[np.uint64(begin + j)]
        g = clip(slope * value, LIMIT)
        h = clip(own * value, LIMIT)
        n[j] += h * h
        z[j] += g - (math.sqrt(n[j]) - root[j]) * pace * w[j]


@inlined
def slopes(
    p: float, label: int, kind: int, repeats: bool, omega: float, rate: float
) -> tuple[float, float]:
    """The gradient by the logit, and that which n grows by: see `learn`."""
    own = omega * (p - (1 if kind == CORRECTION else label))
    return (clip(own - omega * p / rate, LIMIT) if repeats else own), own


@inlined
def step_bias(tally: Tally, rates: Rates, due: Step) -> None:
    """Move the bias' z and n, as `step` does those of a coordinate where x is 1."""
    n = tally[0]["bias_n"] + due.own * due.own
    tally[0]["bias_z"] += due.slope - (math.sqrt(n) - due.root) / rates.alpha * due.bias
    tally[0]["bias_n"] = n


@inlined
def note_rounding(shift: layout.Shift, tally: Tally, error: F64, size: int) -> None:
    """Add one coordinate of a row to the measure of what its roundings are."""
    if shift is None and size > 0:
        tally[0]["rounded"] += 1
        tally[0]["rounding"] += abs(error[0])


@inlined
def is_repeated(examples: Examples, row: int) -> bool:
    """Whether a row is the correction of one that was learned from."""
    return bool(examples.kind[row] == CORRECTION and examples.kept[row])


@inlined
def marks_of(shift: layout.Shift, keys: U64, chosen: I64, first: int, end: int) -> np.uint64:
    """A bit for each of `keys[chosen[i]]`, first ≤ i < end; what the table takes for one shares it.

    Of what is not in a set of bits nothing has to be looked up again.
    """
    bits = np.uint64(0)
    for i in range(first, end):
        bits |= _1 << (layout.name(shift, keys[chosen[i]]) & _63)
    return bits


@inlined
def let_in(
    model: Model,
    batch: Batch,
    examples: Examples,
    s: Scratch,
    row: int,
    found: U64,
    at: Ints,
    absent: int,
) -> int:
    """Begin a row that sights its features for the first time, and let in those that are due.

    Its features outside the table are `found[s.chosen[i]]`, i < `absent`, each once; those that are
    let in get their slots in `at`, and come to be among the first in `chosen`. Returns how many
    have got one.
    """
    words, rules, progress, tally = model.words, model.rules, model.progress, model.tally
    generations.start_example(words, rules, progress, tally[0]["examples"], examples.ts[row])
    tally[0]["examples"] += 1
    if absent == 0:
        return 0
    met = admission.circumstances(rules, model.seed, examples.place[row], examples.kind[row])
    first, chosen = batch.indptr[row], s.chosen
    due = admission.admit(
        words, rules, progress, met, examples.bars, batch.keys, first, found, chosen, s.totals,
        absent,
    )  # fmt: skip
    return insert(model.slots, model.shift, model.max_features, tally, found, at, chosen, due)


@inlined
def predict_row(
    model: Model, rates: Rates, examples: Examples, s: Scratch, row: int, begin: int, size: int,
    logits: F64,
) -> Step:  # fmt: skip
    """Predict a row that is to be learned: `size` coordinates of a block, from `begin` on.

    All of these have slots. Leaves z, n and w in scratch for `step_row`.
    """
    slots, shift, tally = model.slots, model.shift, model.tally
    alpha, beta = rates.alpha, rates.beta
    kind, kept, label = examples.kind[row], examples.kept[row], examples.label[row]
    if model.bits == count_codes.GRADIENTS:
        load(slots, shift, s, begin, size, alpha, beta)
    else:
        count_codes.note(tally, kind, kept, label, examples.rate[row])
        spread = count_codes.average(tally)
        count_slot_codec.load(slots, shift, model.bits, spread, s, begin, size, alpha, beta)

    bias_root = math.sqrt(tally[0]["bias_n"])
    bias = weight(tally[0]["bias_z"], bias_root, rates, 0.0)
    logits[row] = examples.offset[row] + bias + dot(s, begin, size, rates)
    p = sigmoid(logits[row])
    slope, own = slopes(
        p, label, kind, is_repeated(examples, row), examples.omega[row], examples.rate[row]
    )
    return Step(slope, own, bias, bias_root)


@inlined
def step_row(
    model: Model, rates: Rates, examples: Examples, s: Scratch, row: int, begin: int, size: int,
    due: Step,
) -> None:  # fmt: skip
    """Learn from a row that has just been predicted by `predict_row`; see `learn`."""
    slots, shift, touched, tally = model.slots, model.shift, model.touched, model.tally
    alpha, beta, slope, own = rates.alpha, rates.beta, due.slope, due.own
    kind, kept, label = examples.kind[row], examples.kept[row], examples.label[row]
    omega, rate, place = examples.omega[row], examples.rate[row], examples.place[row]
    if model.bits == count_codes.GRADIENTS:
        step(s, begin, size, rates, slope, own)
        here = circumstances(shift, model.seed, place, kind)
        saturated = store(slots, shift, touched, s, begin, size, alpha, beta, here)
    else:
        spread = count_codes.average(tally)
        more = count_codes.more(kind, kept, label, omega, rate)
        here = circumstances(None, model.seed, place, kind)
        saturated = count_slot_codec.count(model.bits, s, begin, size, more, spread, here)
        count_slot_codec.step(s, begin, size, alpha, slope)
        saturated += count_slot_codec.store(
            slots, shift, touched, s, begin, size, alpha, beta, here
        )
    note_seen(model.ages, s.at, begin, begin + size, tally, model.epoch)
    tally[0]["saturated"] += saturated
    note_rounding(shift, tally, s.root, size)
    step_bias(tally, rates, due)


@kernel
def learn(
    model: Model,
    rates: Rates,
    batch: Batch,
    examples: Examples,
    s: Scratch,
    start: int,
    rows: int,
    logits: F64,
) -> int:
    """Predict, then learn, the rows from `start` up to `rows`; each row's logit goes to `logits`.

    Returns `rows` when all are done, else the row before which the table must grow, or something
    must leave it; of that row nothing has been touched.

    A first label has g = ω(p - y)x. A correction replaces a negative by a positive: g =
    ω₀[(p - 1) - p/r]x if the negative was trained on, ω₀(p - 1)x if it was sampled out, and
    n grows by the positive's own (ω₀(p - 1)x)². If it was trained on, its features have been
    sighted then, so they neither enter the table now nor count for admission.

    Rows are looked up a block at a time, while the next block's cache lines are being loaded. They
    are asked for between a row's prediction and its step, for the step waits for the logit, which
    is a sum of one product after the other. A row may find features in the table that were not
    there when its block was looked up, so it is looked up again if one of its own may be among
    those that came since.
    """
    slots, ages, shift, words, rules = (
        model.slots,
        model.ages,
        model.shift,
        model.words,
        model.rules,
    )
    room, tally = model.room, model.tally
    indptr, keys, values = batch
    stamps, marks, ends, stops, found, x, at, away = (
        s.stamps, s.marks, s.ends, s.stops, s.found, s.x, s.at, s.away
    )  # fmt: skip
    announce(slots, ages, shift, keys, indptr[start], indptr[min(start + BLOCK, rows)])
    for first in range(start, rows, BLOCK):
        last = min(first + BLOCK, rows)
        end = stop = _NOTHING
        for row in range(first, last):
            begin, start_of_row = stop, end
            end = gather(indptr, keys, values, row, stamps, marks, found, x, end)
            stop = look_up(slots, shift, found, at, away, start_of_row, end, stop)
            layout.announce_next(slots, shift, found, away, begin, stop)
            ends[row - first], stops[row - first] = end, stop
        begin = stop = _NOTHING
        for row in range(first, last):
            missing, begin, start_of_row = begin, stops[row - first], stop
            stop = layout.find_all(slots, shift, found, at, away, missing, begin, stop)
            for i in range(start_of_row, stop):
                admission.announce(words, rules, found[away[i]])
            stops[row - first] = stop
        end = stop = _NOTHING
        came = np.uint64(0)
        for row in range(first, last):
            length = indptr[row + 1] - indptr[row]
            if room < model.max_features and tally[0]["used"] + length > room:
                return row
            begin, end = end, ends[row - first]
            missing, stop = stop, stops[row - first]
            absent = stop - missing
            if marks_of(shift, found, away, missing, stop) & came != 0:
                absent = (
                    layout.find_all(slots, shift, found, at, away, missing, stop, missing) - missing
                )
            if not is_repeated(examples, row):
                for i in range(absent):
                    s.chosen[i] = away[missing + i]
                    hyperloglog.observe(model.seen, found[s.chosen[i]])
                given = let_in(model, batch, examples, s, row, found, at, absent)
                if given > 0:
                    came |= marks_of(shift, found, away, missing, missing + absent)
                    absent -= given
            size = end - begin
            if absent > 0:
                size = close_up(found, x, at, away[missing], end) - begin
            due = predict_row(model, rates, examples, s, row, begin, size, logits)
            announce_row(batch, examples, min(row + 2 * BLOCK, rows - 1))
            if row + BLOCK < rows:
                announce(slots, ages, shift, keys, indptr[row + BLOCK], indptr[row + BLOCK + 1])
            step_row(model, rates, examples, s, row, begin, size, due)
            if model.evicts and tally[0]["crowded"] != 0:
                return row + 1
    return rows


@kernel
def predict(
    slots: layout.Slots,
    shift: layout.Shift,
    bits: count_codes.Bits,
    spread: float,
    rates: Rates,
    bias: float,
    batch: Batch,
    s: Scratch,
    logits: F64,
) -> None:
    """Add bias + x·w to each row's `logits`; features outside the table weigh nothing.

    spread: 1/r, where rates go by counts.
    """
    indptr, keys, values = batch
    stamps, marks, found, x, at, away = s.stamps, s.marks, s.found, s.x, s.at, s.away
    for row in range(len(logits)):
        end = gather(indptr, keys, values, row, stamps, marks, found, x, _NOTHING)
        missing = look_up(slots, shift, found, at, away, _NOTHING, end, _NOTHING)
        if layout.find_all(slots, shift, found, at, away, _NOTHING, missing, _NOTHING) > 0:
            end = close_up(found, x, at, away[0], end)
        if bits == count_codes.GRADIENTS:
            load(slots, shift, s, _NOTHING, end, rates.alpha, rates.beta)
        else:
            count_slot_codec.load(
                slots, shift, bits, spread, s, _NOTHING, end, rates.alpha, rates.beta
            )
        logits[row] = logits[row] + bias + dot(s, _NOTHING, end, rates)
