"""16-bit fixed point: 2 bits before the point, 13 after, one for the sign; rounded at random.

q2.13 of McMahan et al., KDD 2013, section 4.2: v becomes ⌊2¹³ v + R⌋ 2⁻¹³ with R uniform in
[0, 1), so the rounding has no bias. R is a hash of what is rounded and why, never a stateful
generator: neither order, nor restarts, nor storage layouts can change a run.
"""

from typing import NamedTuple

import numpy as np

from streams.jit import F64, I16, U64, kernel

SCALE = 2.0**13
LOWEST = -32768
HIGHEST = 32767

SERVING = 0  # of `kind`: a published weight

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
def uniform(
    seed: np.uint64, kind: np.uint64, coordinate: np.uint64, variant: np.uint64
) -> np.float64:
    """R in [0, 1), a multiple of 2⁻³²: few enough bits that 2¹³ v + R is all but exact."""
    h = mix(mix(mix(mix(_GOLDEN, seed), kind), variant), coordinate)
    return np.float64(h >> np.uint64(32)) * 2.0**-32


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
