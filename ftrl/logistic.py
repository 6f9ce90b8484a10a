"""From logits to probabilities."""

import numpy as np

from ftrl.kernels import learn
from streams.compute.arrays import F64
from streams.compute.jit import kernel


@kernel
def _probabilities(logits: F64, p: F64) -> None:
    for i in range(len(logits)):
        p[i] = learn.sigmoid(logits[i])


def probabilities(logits: F64) -> F64:
    """σ of each logit, float64, in [0, 1]: what the learner itself computes, bit for bit."""
    p = np.empty(len(logits))
    _probabilities(np.ascontiguousarray(logits), p)
    return p
