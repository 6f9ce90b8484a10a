"""State in 16 bits: fixed point for weights, a logarithm for sums; both rounded at random.

q2.13 of McMahan et al., KDD 2013, section 4.2: v becomes ⌊2¹³ v + R⌋ 2⁻¹³ with R uniform in
[0, 1), so the rounding has no bias: 2 bits before the point, 13 after, one for the sign. A sum n
of squared gradients is kept as a code c with n = (2^(c / 2048) - 1) / 1024, rounded to one of its
two neighbours such that n has no bias. R is a hash of what is rounded and why, never a stateful
generator: neither order, nor restarts, nor storage layouts can change a run.
"""

import math
from typing import NamedTuple

import numpy as np

from streams.jit import F64, I16, U64, kernel

SCALE = 2.0**13
LOWEST = -32768
HIGHEST = 32767
HIGHEST_SUM = 65535  # the code of 4.19 million

# Of `kind`: a published weight; the learner's η·z and n.
SERVING, STORED_Z, STORED_N = range(3)

_SUM_SCALE = 1024.0
_OCTAVE = 2048  # codes from 1 + 1024 n to its double
_POWERS = np.exp2(np.arange(_OCTAVE) / _OCTAVE)
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
    return np.float64(mix(stem, coordinate) >> np.uint64(32)) * 2.0**-32


@kernel
def uniform(
    seed: np.uint64, kind: np.uint64, coordinate: np.uint64, variant: np.uint64
) -> np.float64:
    """R of these circumstances; see `draw`."""
    return draw(stem(seed, kind, variant), coordinate)


@kernel
def _power(code: int | np.int64) -> float:
    """1 + 1024 n of a sum's code."""
    power: float = _POWERS[code & (_OCTAVE - 1)] * (1 << (code >> 11))
    return power


@kernel
def decode_sum(code: int | np.int64) -> float:
    """The sum n that `code` (0 to 65535) stands for."""
    return (_power(code) - 1) / _SUM_SCALE


@kernel
def encode_sum(n: float, r: float) -> int:
    """The code of n ≥ 0 under the draw r: one of its two neighbours, or 65536 beyond the last."""
    power = 1 + _SUM_SCALE * n
    if power > _power(HIGHEST_SUM):
        return HIGHEST_SUM + 1
    below = min(math.floor(math.log2(power) * _OCTAVE), HIGHEST_SUM - 1)
    low = _power(below)
    return below + math.floor((power - low) / (_power(below + 1) - low) + r)


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
