"""State in 16 bits: fixed point for weights, a short float for sums; both rounded at random.

q2.13 of McMahan et al., KDD 2013, section 4.2: v becomes ⌊2¹³ v + R⌋ 2⁻¹³ with R uniform in
[0, 1), so the rounding has no bias: 2 bits before the point, 13 after, one for the sign.

A sum n of squared gradients is kept as 1 + 1024 n in 5 bits of exponent and 11 of mantissa. Such a
code is a logarithm but for the straight lines between its octaves, and needs no logarithm to
compute. n is rounded to one of the two neighbouring codes such that it has no bias. R comes from
`ftrl.table.rng`.
"""

from typing import NamedTuple

import numpy as np

from ftrl.table.rng import rng_context, uniform
from streams.compute.arrays import F64, I16, U64
from streams.compute.jit import inlined, kernel

SCALE = 2.0**13
LOWEST = -32768
HIGHEST = 32767
HIGHEST_SUM = np.uint64(65535)  # the code of 4.19 million

_SUM_SCALE = 1024.0
_DROPPED = np.uint64(52 - 11)  # bits of a float64's mantissa that the code of a sum lacks
_ONE = np.uint64(0x3FF << 52)  # the bits of 1.0
_FIRST_CODE = np.uint64(0x3FF << 11)
_TO_SUM = np.uint64(52 - 11 - 32)  # the left shift of a draw of 32 bits to the top of those dropped


class Rounded(NamedTuple):
    """q: int16, the values in units of 2⁻¹³. saturated: how many lay outside [-4, 4)."""

    q: I16
    saturated: int


@inlined
def decode_sum(code: np.uint64) -> float:
    """The sum n that `code` (0 to 65535) stands for."""
    power = np.uint64(_ONE + (code << _DROPPED)).view(np.float64)
    return (power - 1.0) / _SUM_SCALE


@inlined
def encode_sum(n: float, draw: np.uint64) -> np.uint64:
    """The code of n ≥ 0, rounded by a draw of 32 bits; 65536 or more if no code stands for n.

    Between two codes n grows as the bits of 1 + 1024 n do, and so does the chance of a carry.
    """
    bits = np.float64(1.0 + _SUM_SCALE * n).view(np.uint64)
    return ((bits + (draw << _TO_SUM)) >> _DROPPED) - _FIRST_CODE


@kernel
def _round(values: F64, keys: U64, context: np.uint64, q: I16) -> int:
    """Round values into `q`; returns how many were saturated."""
    saturated = 0
    for i in range(len(values)):
        scaled = np.floor(values[i] * SCALE + uniform(context, keys[i]))
        kept = min(max(scaled, LOWEST), HIGHEST)
        if kept != scaled:
            saturated += 1
        q[i] = np.int16(kept)
    return saturated


def quantize(values: F64, keys: U64, *, seed: int, purpose: int, variant: int) -> Rounded:
    """Round values (float64, finite) to q2.13.

    R depends on `seed` (0 to 2⁶⁴ - 1), on `purpose` (`ftrl.table.rng.SERVING` for a published
    weight), on the value's key (uint64) and on `variant` (a version or a count). Within [-4, 4) the
    error is below 2⁻¹³ and zero on average; outside the value saturates.
    """
    q = np.empty(len(values), np.int16)
    context = np.uint64(rng_context(np.uint64(seed), np.uint64(purpose), np.uint64(variant)))
    saturated = _round(
        np.ascontiguousarray(values, np.float64), np.ascontiguousarray(keys, np.uint64), context, q
    )
    return Rounded(q, saturated)
