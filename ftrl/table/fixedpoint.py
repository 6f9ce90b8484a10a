"""State in 16 bits: fixed point for weights, a short float for sums; both rounded at random.

q2.13 of McMahan et al., KDD 2013, section 4.2: v becomes ⌊2¹³ v + R⌋ 2⁻¹³ with R uniform in
[0, 1), so the rounding has no bias: 2 bits before the point, 13 after, one for the sign. A sum n
of squared gradients is kept as 1 + 1024 n in 5 bits of exponent and 11 of mantissa: a logarithm,
but for the straight lines between its octaves, that takes no logarithm to compute. It is rounded to
one of its two neighbours such that n has no bias. R is a hash of what is rounded and why, never a
stateful generator: neither order, nor restarts, nor storage layouts can change a run.
"""

from typing import NamedTuple

import numpy as np

from streams.compute.arrays import F64, I16, U64
from streams.compute.jit import inlined, kernel

SCALE = 2.0**13
LOWEST = -32768
HIGHEST = 32767
HIGHEST_SUM = np.uint64(65535)  # the code of 4.19 million

# Of `kind`: a published weight; the learner's η·z and n; whether a feature enters the table.
SERVING, STORED, ADMITTED = range(3)

_SUM_SCALE = 1024.0
_DROPPED = np.uint64(52 - 11)  # bits of a float64's mantissa that the code of a sum lacks
_ONE = np.uint64(0x3FF << 52)  # the bits of 1.0
_FIRST_CODE = np.uint64(0x3FF << 11)
_DRAWN = np.uint64(32)  # bits of a draw
_LOW = np.uint64(0xFFFFFFFF)
_TO_SUM = np.uint64(52 - 11 - 32)
_TO_UNIT = np.uint64(52 - 32)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)


class Rounded(NamedTuple):
    """q: int16, the values in units of 2⁻¹³. saturated: how many lay outside [-4, 4)."""

    q: I16
    saturated: int


@kernel
def mix(state: np.uint64, word: np.uint64) -> np.uint64:
    """`state` with `word` hashed into it (SplitMix64's finalizer: Steele et al., OOPSLA 2014)."""
    h = (state ^ word) + _GOLDEN
    h = (h ^ (h >> np.uint64(30))) * _MIX_A
    h = (h ^ (h >> np.uint64(27))) * _MIX_B
    return h ^ (h >> np.uint64(31))


@kernel
def stem(seed: np.uint64, kind: np.uint64, variant: np.uint64) -> np.uint64:
    """What `draw` needs of everything but the coordinate."""
    return mix(mix(mix(_GOLDEN, seed), kind), variant)


@kernel
def draw(stem: np.uint64, coordinate: np.uint64) -> np.float64:
    """R in [0, 1), a multiple of 2⁻³²: few enough bits that 2¹³ v + R is all but exact."""
    return np.float64(mix(stem, coordinate) >> _DRAWN) * 2.0**-32


@inlined
def draws(stem: np.uint64, coordinate: np.uint64) -> tuple[np.uint64, float]:
    """Two independent ones of these circumstances: one as 32 bits, the other in [0, 1)."""
    h = mix(stem, coordinate)
    return h >> _DRAWN, np.uint64(_ONE | ((h & _LOW) << _TO_UNIT)).view(np.float64) - 1.0


@kernel
def uniform(
    seed: np.uint64, kind: np.uint64, coordinate: np.uint64, variant: np.uint64
) -> np.float64:
    """R of these circumstances; see `draw`."""
    return draw(stem(seed, kind, variant), coordinate)


@inlined
def decode_sum(code: np.uint64) -> float:
    """The sum n that `code` (0 to 65535) stands for."""
    power = np.uint64(_ONE + (code << _DROPPED)).view(np.float64)
    return (power - 1.0) / _SUM_SCALE


@inlined
def encode_sum(n: float, drawn: np.uint64) -> np.uint64:
    """The code of n ≥ 0 under a draw of 32 bits: one of its neighbours; beyond 65535 too.

    Between two codes n grows as the bits of 1 + 1024 n do, and so does the chance of a carry.
    """
    bits = np.float64(1.0 + _SUM_SCALE * n).view(np.uint64)
    return ((bits + (drawn << _TO_SUM)) >> _DROPPED) - _FIRST_CODE


@kernel
def _round(
    values: F64,
    coordinates: U64,
    seed: np.uint64,
    kind: np.uint64,
    variant: np.uint64,
    q: I16,
) -> int:
    saturated = 0
    for i in range(len(values)):
        scaled = np.floor(values[i] * SCALE + uniform(seed, kind, coordinates[i], variant))
        kept = min(max(scaled, LOWEST), HIGHEST)
        if kept != scaled:
            saturated += 1
        q[i] = np.int16(kept)
    return saturated


def quantize(values: F64, coordinates: U64, *, seed: int, kind: int, variant: int) -> Rounded:
    """Round values (float64, finite) to q2.13.

    R depends on `seed` (0 to 2⁶⁴ - 1), `kind` (what the value is, `SERVING` for a published
    weight), its coordinate (uint64) and `variant` (a version or a count). Within [-4, 4) the
    error is below 2⁻¹³ and zero on average; outside the value saturates.
    """
    q = np.empty(len(values), np.int16)
    saturated = _round(
        np.ascontiguousarray(values, np.float64),
        np.ascontiguousarray(coordinates, np.uint64),
        np.uint64(seed),
        np.uint64(kind),
        np.uint64(variant),
        q,
    )
    return Rounded(q, saturated)


def dequantize(q: I16) -> F64:
    """The values that q2.13 integers stand for, exactly."""
    return q / SCALE
