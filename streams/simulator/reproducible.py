"""Random numbers, exp and log that are the same to the last bit on every machine.

A number depends only on a seed, a name and a counter, never on what was drawn before it, so
that work may be cut anywhere. exp and log use only + − × ÷ and scaling by powers of two, each
exact or correctly rounded in IEEE 754; the last bit of a C library's own differs between
machines. Every operation is one NumPy ufunc, so no compiler can fuse two of them, and nothing
here sums floats with `np.sum`, whose order of additions is not promised.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from streams.compute.arrays import F64, I64, U64, Bool
from streams.compute.splitmix import GOLDEN, finalize

_MASK = (1 << 64) - 1
_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")  # 32 bits: exact times any exponent
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_INVERSE_LN2 = float.fromhex("0x1.71547652b82fep+0")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
_TAYLOR_TERMS = 14
_ATANH_TERMS = 12


@dataclass(frozen=True, slots=True)
class Random:
    """Numbers for (seed, name, counter): one SplitMix64 sequence for each name."""

    seed: int

    def bits(self, name: str, counter: I64) -> U64:
        """64 random bits for each counter; distinct counters of a name give distinct bits."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        start = (int.from_bytes(digest, "little") + GOLDEN) & _MASK
        return finalize(counter.astype(np.uint64) * np.uint64(GOLDEN) + np.uint64(start))

    def uniform(self, name: str, counter: I64) -> F64:
        """Uniform over the multiples of 2⁻⁵³ in [0, 1): the top 53 bits."""
        return (self.bits(name, counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, name: str, counter: I64, limit: int) -> I64:
        """Whole numbers from 0 to `limit` − 1, for a limit up to 2⁵³."""
        return (self.uniform(name, counter) * limit).astype(np.int64)

    def happens(self, name: str, counter: I64, rate: float) -> Bool:
        """Whether an event of probability `rate` happens at each counter."""
        return self.uniform(name, counter) < rate

    def bell(self, name: str, counter: I64) -> F64:
        """Mean 0, standard deviation 1, bell-shaped, within ±3.47.

        The sum of four uniform 16-bit numbers (Irwin–Hall), which needs no logarithm.
        """
        quarters = self.bits(name, counter).reshape(-1, 1) >> np.array(
            [0, 16, 32, 48], dtype=np.uint64
        )
        parts = (quarters & np.uint64(0xFFFF)).astype(np.int64)
        total = parts[:, 0] + parts[:, 1] + parts[:, 2] + parts[:, 3]
        # Four uniforms on 0…65535 have mean 131070 and variance 4 (2³² − 1) / 12.
        return (total - 131070).astype(np.float64) / math.sqrt((2**32 - 1) / 3)


def exp(x: F64) -> F64:
    """eˣ to about 1e-15 relative, for |x| ≤ 700.

    x = k ln 2 + r with |r| ≤ ln 2 / 2; Taylor's series for eʳ, by Horner's rule.
    """
    k = np.floor(x * _INVERSE_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = np.zeros_like(r)
    for term in range(_TAYLOR_TERMS, -1, -1):
        series = series * r + 1.0 / math.factorial(term)
    return np.ldexp(series, k.astype(np.int32))


def log(x: F64) -> F64:
    """ln x to about 1e-15 relative, for normal x > 0.

    x = 2ᵏ m with √½ ≤ m < √2; ln m = 2 artanh f with f = (m − 1) / (m + 1), |f| < 0.172.
    """
    m, k = np.frexp(x)
    low = m < _SQRT_HALF
    m = np.where(low, m + m, m)
    exponent = (k - low).astype(np.float64)
    f = (m - 1.0) / (m + 1.0)
    square = f * f
    series = np.zeros_like(f)
    for term in range(2 * _ATANH_TERMS - 1, 0, -2):
        series = series * square + 1.0 / term
    return exponent * _LN2_HIGH + (2.0 * f * series + exponent * _LN2_LOW)


def sigmoid(logit: F64) -> F64:
    """1 / (1 + e⁻ˡᵒᵍⁱᵗ), for |logit| ≤ 700."""
    return 1.0 / (1.0 + exp(-logit))


def logit(p: F64) -> F64:
    """ln (p / (1 − p)), for 0 < p < 1."""
    return log(p / (1.0 - p))
