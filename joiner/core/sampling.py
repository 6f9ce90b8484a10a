"""Which negatives subsampling keeps: a matter of the impression's id and the seed alone."""

import numpy as np

from streams.compute.jit import kernel
from streams.compute.murmur3 import fmix64
from streams.compute.splitmix import GOLDEN

_11 = np.uint64(11)


@kernel
def is_kept(lo: np.uint64, salt: np.uint64, keep_rate: float) -> np.bool_:
    """Whether subsampling keeps a negative: 53 bits of a hash of its id, as a fraction, < r."""
    return np.float64(fmix64(lo ^ salt) >> _11) * 2.0**-53 < keep_rate


def salt(seed: int) -> np.uint64:
    """The seed, 0 to 2^64 - 1, mixed so that near seeds make unrelated choices."""
    # A compiled function gives a plain int, which others would take for a signed one.
    return np.uint64(fmix64(np.uint64((seed + GOLDEN) % (1 << 64))))
