"""FTRL-Proximal, one example after the other.

McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, Algorithm 1. All
arithmetic is in float64; only storing rounds, to the table's layout. Kernels hand each other
plain arrays: an array taken out of a tuple costs atomic reference counts.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ftrl import admission, sketch, table
from ftrl.examples import CORRECTION, LIMIT, Batch, Examples
from ftrl.scratch import ROOT, N, Scratch, W, X, Z, coalesce
from ftrl.stored import gather, gather_fixed, scatter, scatter_fixed
from streams.jit import F64, I64, U8, U64, kernel

TALLY = np.dtype(
    [
        ("bias_z", np.float64),
        ("bias_n", np.float64),
        ("used", np.int64),
        ("refused", np.int64),
        ("examples", np.int64),
        ("saturated", np.int64),
    ]
)
Tally = npt.NDArray[np.void]


class Rates(NamedTuple):
    """The algorithm's constants: α, β, λ1, λ2."""

    alpha: float
    beta: float
    l1: float
    l2: float


class Model(NamedTuple):
    """What learning changes, and its bounds.

    touched: uint64, a bit a slot, set when it is stored to. tally: one record of type `TALLY`.
    fixed: whether the slots are of layout q2.13. seed: of its roundings.
    """

    slots: table.Slots
    touched: U64
    shift: np.uint64
    room: int
    max_features: int
    words: U64
    rules: admission.Rules
    seen: U8
    tally: Tally
    fixed: bool
    seed: np.uint64


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


@kernel
def insert(
    slots: table.Slots,
    shift: np.uint64,
    max_features: int,
    tally: Tally,
    keys: U64,
    at: I64,
    chosen: I64,
    size: int,
) -> None:
    """Give slots to the keys `keys[chosen[i]]`, i < `size`; refuse them once the table is full."""
    for i in range(size):
        if tally[0]["used"] < max_features:
            key = keys[chosen[i]]
            slot = ~table.find(slots, shift, key)
            slots[slot]["key"] = key
            at[chosen[i]] = slot
            tally[0]["used"] += 1
        else:
            tally[0]["refused"] += 1


@kernel
def dot(work: F64, size: int, rates: Rates) -> float:
    """x·w of the coordinates in scratch, leaving √n and w there."""
    for j in range(size):
        work[ROOT, j] = math.sqrt(work[N, j])
        work[W, j] = weight(work[Z, j], work[ROOT, j], rates, rates.l1)
    total = 0.0
    for j in range(size):
        total += work[X, j] * work[W, j]
    return total


@kernel
def step(work: F64, size: int, rates: Rates, slope: float, own: float) -> None:
    """Move z and n of the coordinates in scratch (Algorithm 1).

    g = slope·x, n' = n + (own·x)², σ = (√n' - √n) / α, z' = z + g - σ w. For a first label
    `own` is `slope`.
    """
    pace = 1 / rates.alpha
    for j in range(size):
        g = clip(slope * work[X, j], LIMIT)
        h = clip(own * work[X, j], LIMIT)
        n = work[N, j] + h * h
        work[Z, j] += g - (math.sqrt(n) - work[ROOT, j]) * pace * work[W, j]
        work[N, j] = n


@kernel
def learn(
    model: Model,
    rates: Rates,
    batch: Batch,
    examples: Examples,
    s: Scratch,
    start: int,
    logits: F64,
) -> int:
    """Predict, then learn, the rows from `start` on; each row's logit goes to `logits`.

    Returns the number of rows when all are done, else the row before which the table must
    grow; of that row nothing has been touched.

    A first label has g = ω(p - y)x. A correction replaces a negative by a positive: g =
    ω₀[(p - 1) - p/r]x if the negative was trained on, ω₀(p - 1)x if it was sampled out, and
    n grows by the positive's own (ω₀(p - 1)x)². If it was trained on, its features have been
    sighted then, so they neither enter the table now nor count for admission.
    """
    slots, touched, shift, room, max_features, words, rules, seen, tally, fixed, seed = model
    indptr, keys, values = batch
    label, offset, omega, rate, kind, kept, place = examples
    alpha, beta = rates.alpha, rates.beta
    marks, found, at, chosen, totals, work = s
    for row in range(start, len(label)):
        length = indptr[row + 1] - indptr[row]
        if room < max_features and tally[0]["used"] + length > room:
            return row
        repeats = kind[row] == CORRECTION and kept[row]
        size = coalesce(keys, values, indptr[row], indptr[row + 1], marks, found, work)
        table.locate(slots, shift, found, at, size)
        if not repeats:
            generation = admission.start_example(words, rules, tally[0]["examples"])
            tally[0]["examples"] += 1
            absent = 0
            for j in range(size):
                if at[j] < 0:
                    sketch.observe(seen, found[j])
                    chosen[absent] = j
                    absent += 1
            if absent > 0:
                absent = admission.admit(words, rules, generation, found, chosen, totals, absent)
                insert(slots, shift, max_features, tally, found, at, chosen, absent)
        if fixed:
            size = gather_fixed(slots, at, work, size, alpha, beta)
        else:
            size = gather(slots, at, work, size)

        bias_root = math.sqrt(tally[0]["bias_n"])
        bias = weight(tally[0]["bias_z"], bias_root, rates, 0.0)
        logits[row] = offset[row] + bias + dot(work, size, rates)
        p = sigmoid(logits[row])
        own = omega[row] * (p - (1 if kind[row] == CORRECTION else label[row]))
        slope = clip(own - omega[row] * p / rate[row], LIMIT) if repeats else own

        step(work, size, rates, slope, own)
        if fixed:
            tally[0]["saturated"] += scatter_fixed(
                slots,
                touched,
                at,
                work,
                size,
                alpha,
                beta,
                seed,
                np.uint64(place[row]),
                np.uint64(kind[row]),
            )
        else:
            scatter(slots, touched, at, work, size)
        bias_n = tally[0]["bias_n"] + own * own
        tally[0]["bias_z"] += slope - (math.sqrt(bias_n) - bias_root) / rates.alpha * bias
        tally[0]["bias_n"] = bias_n
    return len(label)


@kernel
def predict(
    slots: table.Slots,
    shift: np.uint64,
    fixed: bool,
    rates: Rates,
    bias: float,
    batch: Batch,
    s: Scratch,
    logits: F64,
) -> None:
    """Add bias + x·w to each row's `logits`; features outside the table weigh nothing."""
    indptr, keys, values = batch
    marks, found, at, _, _, work = s
    for row in range(len(logits)):
        size = coalesce(keys, values, indptr[row], indptr[row + 1], marks, found, work)
        table.locate(slots, shift, found, at, size)
        if fixed:
            size = gather_fixed(slots, at, work, size, rates.alpha, rates.beta)
        else:
            size = gather(slots, at, work, size)
        logits[row] = logits[row] + bias + dot(work, size, rates)
