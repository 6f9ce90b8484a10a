"""SplitMix64: 64 bits mixed until they look random (Steele, Lea and Flood, OOPSLA 2014).

`finalize` is its finalizer (variant 13), a bijection of 64 bits; `finalize_word` is the same for
one word within a kernel. A sequence adds `GOLDEN` to the state for each word that it gives.
"""

import numpy as np

from streams.compute.arrays import U64
from streams.compute.jit import inlined

GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ / φ, odd

_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_27 = np.uint64(27)
_30 = np.uint64(30)
_31 = np.uint64(31)


def finalize(words: U64) -> U64:
    """The hash of each word, uint64; only 0 becomes 0."""
    words = (words ^ (words >> _30)) * _MULTIPLIER_1
    words = (words ^ (words >> _27)) * _MULTIPLIER_2
    return words ^ (words >> _31)


@inlined
def finalize_word(word: np.uint64) -> np.uint64:
    """The hash of one word, as `finalize` gives it."""
    word = (word ^ (word >> _30)) * _MULTIPLIER_1
    word = (word ^ (word >> _27)) * _MULTIPLIER_2
    return word ^ (word >> _31)
