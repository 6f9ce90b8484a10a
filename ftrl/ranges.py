"""Learning a range of rows from copies of their features."""

import math
from typing import cast

import numpy as np

from ftrl.copies import NEVER, Part
from ftrl.examples import CORRECTION, Batch, Examples
from ftrl.kernels import Rates, Tally, dot, sigmoid, slopes, step, step_bias, weight
from ftrl.scratch import Scratch
from ftrl.stored import load, store
from ftrl.table import ABSENT, Shift
from streams.jit import F64, U64, kernel

_NOTHING = cast(int, np.int64(0))  # see `ftrl.kernels`
_NO_DRAW = np.uint64(0)


@kernel
def learn(
    part: Part,
    size: int,
    shift: Shift,
    touched: U64,
    rates: Rates,
    tally: Tally,
    batch: Batch,
    examples: Examples,
    s: Scratch,
    start: int,
    stop: int,
    logits: F64,
) -> int:
    """Predict, then learn, the rows `start` to `stop`, as `ftrl.kernels.learn` does, on copies.

    Lists the features that enter, and returns how many. size: the highest number + 1. touched:
    scratch, a bit a copy. `last` of a copy is where among its row's coordinates it was, plus
    what exceeds all that was noted in rows before.
    """
    copies, numbers, home, entering = part.copies, part.numbers, part.home, part.entering
    indptr, _, values = batch
    label, offset, omega, rate, kind, kept, _, _, _ = examples
    alpha, beta = rates.alpha, rates.beta
    at, x = s.at, s.x
    base, past = indptr[start], len(numbers)
    for row in range(start, stop):
        count = _NOTHING
        for i in range(indptr[row], indptr[row + 1]):
            number = np.int64(numbers[np.uint64(i - base)])
            value = values[np.uint64(i)] if len(values) else 1.0
            earlier = copies[np.uint64(number)]["last"] - past
            if earlier >= 0:
                if earlier < count and at[earlier] == number:
                    x[earlier] += value
                continue
            copies[np.uint64(number)]["last"] = past + count
            at[np.uint64(count)] = number
            x[np.uint64(count)] = value
            count += 1 if copies[np.uint64(number)]["since"] <= row else 0
        past += count + 1
        load(copies, shift, s, _NOTHING, count, alpha, beta)

        bias_root = math.sqrt(tally[0]["bias_n"])
        bias = weight(tally[0]["bias_z"], bias_root, rates, 0.0)
        logits[row] = offset[row] + bias + dot(s, _NOTHING, count, rates)
        p = sigmoid(logits[row])
        repeats = kind[row] == CORRECTION and kept[row]
        slope, own = slopes(p, label[row], kind[row], repeats, omega[row], rate[row])

        step(s, _NOTHING, count, rates, slope, own)
        store(copies, shift, touched, s, _NOTHING, count, alpha, beta, _NO_DRAW)
        step_bias(tally, bias, bias_root, rates, slope, own)
        tally[0]["examples"] += 0 if repeats else 1
    come = 0
    for new in range(1, size):
        entering[come] = new
        come += 1 if home[new] == ABSENT and copies[new]["since"] != NEVER else 0
    return come
