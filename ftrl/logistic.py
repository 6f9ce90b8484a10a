"""The logistic function, from logits to probabilities."""

import math

import numpy as np

from streams.compute.arrays import F64
from streams.compute.jit import kernel


@kernel
def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), without overflow."""
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1 + odds)


@kernel
def _probabilities(logits: F64, p: F64) -> None:
    for i in range(len(logits)):
        p[i] = sigmoid(logits[i])


def probabilities(logits: F64) -> F64:
    """σ of each logit, float64, in [0, 1]: what the learner itself computes, bit for bit."""
    p = np.empty(len(logits))
    _probabilities(np.ascontiguousarray(logits), p)
    return p
