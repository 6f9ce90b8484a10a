"""The seeded workload of `bench learn`: labelled examples of 30 fields, hashed already.

Cardinalities are spread log-uniformly from 5 to 2 million. Within a field the k-th value comes
about in proportion to 1/k, as in click logs, or all alike (`uniform`), which no cache can help.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from streams.compute.arrays import F64, I8, I64, U64
from streams.compute.splitmix import finalize

FIELDS = 30
FEWEST, MOST = 5, 2_000_000
CHUNK = 50_000  # examples
_BIAS = -3.5  # a CTR of about 5%
_EFFECT = 0.25  # standard deviation of a value's effect, logit


class Chunk(NamedTuple):
    """Some examples. keys: uint64 [rows, FIELDS], a coordinate of each field. label: int8."""

    keys: U64
    label: I8


def cardinalities() -> I64:
    """How many values each field has, int64 [FIELDS]."""
    return np.round(FEWEST * (MOST / FEWEST) ** np.linspace(0, 1, FIELDS)).astype(np.int64)


def chunks(examples: int, seed: int, *, uniform: bool = False) -> Iterator[Chunk]:
    """`examples` examples, in chunks of up to CHUNK; the same for the same arguments."""
    sizes = cardinalities()
    first = np.arange(FIELDS, dtype=np.uint64) << np.uint64(32)
    for number, start in enumerate(range(0, examples, CHUNK)):
        rng = np.random.default_rng([seed, number])
        u = rng.random((min(CHUNK, examples - start), FIELDS))
        ids = (u * sizes if uniform else sizes**u - 1).astype(np.uint64)
        keys = finalize(ids + first + np.uint64(1))
        logit = _BIAS + _effects(keys).sum(axis=1)
        label = rng.random(len(keys)) < 1 / (1 + np.exp(-logit))
        yield Chunk(keys, label.astype(np.int8))


def _effects(keys: U64) -> F64:
    """What each coordinate adds to the logit: uniform, with standard deviation _EFFECT."""
    share: F64 = (finalize(keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (share - 0.5) * (12**0.5 * _EFFECT)
