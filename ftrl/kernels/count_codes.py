"""Learning rates from counts of clicks instead of squared gradients.

Every example that has a coordinate is taken to have been clicked with the same probability, that of
P positives among P + N. Then the sum of squared gradients is about P N / (P + N) (McMahan et al.,
KDD 2013, section 4.5). With the share r of the negatives kept, each for 1/r of them, N counts 1/r
for each, and the sum becomes

    P (1 - p)² + (N / r) p² = P N (N + P/r) / (P + N)²,    p = P / (P + N)

An example of weight ω₀ in which the coordinate has the value x counts (ω₀x)² times. For 1/r its
average over the negatives learned from is taken, because r may change.

What a slot stores as n is then code(P)·2ᵇ + code(N), a whole number. A code has b bits: 5 of the
exponent of 1 + count and b - 5 of its mantissa. So counts go to 2³². Small counts are exact; a
larger one is rounded at random to a neighbouring code, without bias (Morris, CACM 1978).
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ftrl.kernels.batch import CORRECTION
from ftrl.settings import LearnerSettings
from ftrl.table.layout import FIXED
from streams.compute.jit import inlined

# Bits of each of the two codes in a stored n; 0 where n is the sum of squared gradients.
Bits: TypeAlias = np.uint64
Tally = npt.NDArray[np.void]

GRADIENTS = np.uint64(0)
# Both codes fit into what the layout's n holds exactly: 16, 24 and 53 bits.
BITS = {FIXED: np.uint64(8), "float32": np.uint64(12), "float64": np.uint64(25)}

_TO_MANTISSA = np.uint64(52 + 5)  # less b: the bits of a float64's mantissa that a code lacks
_DRAW_BITS = np.uint64(32)
_ONE = np.uint64(0x3FF << 52)  # the bits of 1.0
_1 = np.uint64(1)
_NO_EXAMPLES = 1e-100  # a divisor where there are none


@inlined
def decode(code: np.uint64, bits: Bits) -> float:
    """The count that a code of so many bits stands for."""
    power = np.uint64(_ONE + (code << (_TO_MANTISSA - bits))).view(np.float64)
    return power - 1.0


@inlined
def encode(count: float, bits: Bits, draw: np.uint64) -> np.uint64:
    """The code of `count` ≥ 0, rounded by a draw of 32 bits; 2ᵇ or more if b bits do not hold it.

    Between two codes the count grows as the bits of 1 + count do, and so does the chance of a
    carry.
    """
    dropped = _TO_MANTISSA - bits
    word = np.float64(1.0 + count).view(np.uint64)
    return ((word + (draw << (dropped - _DRAW_BITS))) >> dropped) - (_ONE >> dropped)


@inlined
def split(stored: np.uint64, bits: Bits) -> tuple[float, float]:
    """P and N of a stored n."""
    return decode(stored >> bits, bits), decode(stored & ((_1 << bits) - _1), bits)


@inlined
def squares(stored: np.uint64, bits: Bits, spread: float) -> float:
    """About Σg² of a stored n; spread: 1/r."""
    P, N = split(stored, bits)
    total = max(P + N, _NO_EXAMPLES)
    return P * N * (N + P * spread) / (total * total)


@inlined
def count_negative(tally: Tally, kind: int, kept: bool, label: int, rate: float) -> None:
    """Count an example, if negative, for the average of 1/r; a correction takes it out again."""
    stands_for = 1 / rate
    if kind == CORRECTION:
        stands_for = -stands_for if kept else 0.0
    elif label == 1:
        stands_for = 0.0
    tally[0]["negatives"] += stands_for
    tally[0]["spread"] += stands_for / rate


@inlined
def average(tally: Tally) -> float:
    """1/r on average over the negatives learned from, 1 if there are none."""
    negatives, spread = np.float64(tally[0]["negatives"]), np.float64(tally[0]["spread"])
    return max(spread / negatives, 1.0) if negatives > 0 else 1.0


@inlined
def count_increments(
    kind: int, kept: bool, label: int, omega: float, rate: float
) -> tuple[float, float]:
    """What an example adds to P and to N of its coordinates where x is 1.

    ω is ω₀/r of a sampled negative, so N grows by ω² r. A correction takes its negative out of N
    again if the negative was trained on.
    """
    if kind == CORRECTION:
        return omega * omega, -omega * omega / rate if kept else 0.0
    if label == 1:
        return omega * omega, 0.0
    return 0.0, omega * omega * rate


def bits_of(settings: LearnerSettings) -> Bits:
    """The bits of each code of counts under these settings; GRADIENTS where n is Σg²."""
    return BITS[settings.layout] if settings.rates == "counts" else GRADIENTS
