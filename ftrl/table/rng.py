"""Uniform random draws that are hashes: of a seed, of a purpose, and of a key.

No generator keeps a state, so neither the order of draws, nor restarts, nor storage layouts can
change a run. A context holds all that a draw depends on but the key; one row has one.
"""

import numpy as np

from streams.compute.jit import inlined, kernel
from streams.compute.splitmix import GOLDEN, finalize_word

# Purposes of draws: a published weight; the learner's η·z and n; whether a feature is admitted.
SERVING, STORED, ADMITTED = range(3)

_GOLDEN = np.uint64(GOLDEN)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(0x3FF << 52)  # the bits of 1.0
_TO_MANTISSA = np.uint64(52 - 32)  # the left shift of 32 bits to the top of a float64's mantissa


@kernel
def mix(state: np.uint64, word: np.uint64) -> np.uint64:
    """`state` with `word` hashed into it."""
    return finalize_word((state ^ word) + _GOLDEN)


@kernel
def rng_context(seed: np.uint64, purpose: np.uint64, variant: np.uint64) -> np.uint64:
    """The context of draws. purpose: SERVING, STORED or ADMITTED. variant: tells draws apart."""
    return mix(mix(mix(_GOLDEN, seed), purpose), variant)


@kernel
def row_context(seed: np.uint64, place: int, purpose: int, kind: int) -> np.uint64:
    """The context of the draws for a labelled row. place: its own in the log. kind: the event's."""
    return rng_context(mix(seed, np.uint64(place)), np.uint64(purpose), np.uint64(kind))


@kernel
def uniform(context: np.uint64, key: np.uint64) -> np.float64:
    """A draw in [0, 1), a multiple of 2⁻³²: few enough bits that 2¹³ v + R is all but exact."""
    return np.float64(mix(context, key) >> _32) * 2.0**-32


@inlined
def uniform_draws(context: np.uint64, key: np.uint64) -> tuple[np.uint64, float]:
    """Two independent draws, from the halves of one hash: one as 32 bits, the other in [0, 1)."""
    h = mix(context, key)
    return h >> _32, np.uint64(_ONE | ((h & _LOW) << _TO_MANTISSA)).view(np.float64) - 1.0
