"""The delay of a click after its impression."""

import numpy as np

from streams.compute.arrays import F64, I64
from streams.simulator.reproducible import exp, log, logit, sigmoid


class Delays:
    """Log-logistic delays with a given median and a given share beyond a window.

    P(delay ≤ t) = 1 / (1 + (t / median)^−shape). The median and the share fix the shape. The
    tail beyond the window is cut at the longest delay and scaled up, so that both hold exactly.
    (Real click delays, whose tail falls about as 1/t, are close to log-logistic.)
    """

    def __init__(self, median: int, window: int, beyond: float, longest: int) -> None:
        """Durations in ms, median < window < longest; 0 < beyond < 0.5."""
        octaves = log(np.array([window, longest], dtype=np.float64) / median)
        inside = 1.0 - beyond
        self.shape = float(logit(np.array([inside]))[0] / octaves[0])
        self._median = median
        self._longest = longest
        self._inside = inside
        self._tail = float((sigmoid(octaves[1:] * self.shape)[0] - inside) / beyond)

    def quantile(self, u: F64) -> I64:
        """The delay that a share u of all clicks does not exceed, rounded up to whole ms."""
        tail = self._inside + (u - self._inside) * self._tail
        share = np.where(u < self._inside, u, tail)
        exponent = logit(np.clip(share, 2.0**-53, 1.0 - 2.0**-53)) / self.shape
        delay = np.ceil(self._median * exp(np.clip(exponent, -700.0, 700.0)))
        return np.clip(delay, 1, self._longest).astype(np.int64)
