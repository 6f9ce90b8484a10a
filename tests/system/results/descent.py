"""Online gradient descent, what FTRL-Proximal is compared with: plain, dense, without sparsity.

One float64 weight for each feature, w -= η g, with η per coordinate, α / (β + √Σg²), or the same
for all, α / √t after t examples (McMahan et al., KDD 2013, sections 3 and 3.1).
"""

import math

import numpy as np

from ftrl.logistic import sigmoid
from streams.compute.arrays import F64, I8, I64
from streams.compute.jit import kernel
from tests.system.results.logs import Log


@kernel
def _descend(
    indptr: I64,
    ids: I64,
    values: F64,
    label: I8,
    alpha: float,
    beta: float,
    per_coordinate: bool,
    w: F64,
    squares: F64,
    logit: F64,
) -> None:
    last = len(w) - 1  # the bias
    for row in range(len(label)):
        begin, end = indptr[row], indptr[row + 1]
        total = w[last]
        for i in range(begin, end):
            total += w[ids[i]] * (values[i] if len(values) else 1.0)
        logit[row] = total
        slope = sigmoid(total) - label[row]
        for i in range(begin, end + 1):
            at = ids[i] if i < end else last
            x = values[i] if i < end and len(values) else 1.0
            g = slope * x
            if per_coordinate:
                squares[at] += g * g
                w[at] -= alpha / (beta + math.sqrt(squares[at])) * g
            else:
                w[at] -= alpha / math.sqrt(row + 1.0) * g


def descend(log: Log, alpha: float, *, per_coordinate: bool) -> tuple[F64, int]:
    """Progressive logits of a log, float64, and how many weights are not 0."""
    w, squares = np.zeros((2, log.features + 1))
    logit = np.empty(len(log.label))
    _descend(
        log.indptr,
        log.ids,
        log.values,
        log.label,
        alpha,
        log.learner.beta,
        per_coordinate,
        w,
        squares,
        logit,
    )
    return logit, int(np.count_nonzero(w[:-1]))
