"""The weights of a model as a scorer holds them: those other than 0, in 16 bits, and the bias."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from ftrl.kernels.batch import Batch, batch_of, refuse_zero
from ftrl.table.fixedpoint import SCALE, quantize
from ftrl.table.layout import EMPTY, home_shift, room
from ftrl.table.rng import SERVING
from streams.compute.arrays import F64, I16, I64, U64
from streams.compute.jit import kernel


class ServingWeights(NamedTuple):
    """The weights a version publishes.

    keys: uint64, ascending. q: int16, the weights in units of 2⁻¹³, never 0. saturated: how
    many weights lay outside [-4, 4).
    """

    keys: U64
    q: I16
    saturated: int


def serving_weights(keys: U64, weights: F64, *, seed: int, variant: int) -> ServingWeights:
    """Round `Learner.weights()` for serving; weights that round to 0 are left out.

    seed: the learner's. variant: the version's number, by which roundings differ.
    """
    rounded = quantize(weights, keys, seed=seed, purpose=SERVING, variant=variant)
    kept = rounded.q != 0
    return ServingWeights(keys[kept], rounded.q[kept], rounded.saturated)


@kernel
def _home(keys: U64, shift: np.uint64, key: np.uint64) -> np.int64:
    """The slot that holds `key`, or the empty slot where `key` would be."""
    mask = len(keys) - 1
    slot = np.int64(key >> shift)
    while keys[slot] != key and keys[slot] != EMPTY:
        slot = (slot + 1) & mask
    return slot


@kernel
def _fill(table_keys: U64, table_q: I16, shift: np.uint64, keys: U64, q: I16) -> None:
    for i in range(len(keys)):
        slot = _home(table_keys, shift, keys[i])
        table_keys[slot] = keys[i]
        table_q[slot] = q[i]


@kernel
def _score(
    table_keys: U64, table_q: I16, shift: np.uint64, bias: float, batch: Batch, logits: F64
) -> None:
    indptr, keys, values = batch
    for row in range(len(logits)):
        total = 0.0
        for i in range(indptr[row], indptr[row + 1]):
            # An empty slot has q = 0: a feature without a weight adds nothing.
            q = np.float64(table_q[_home(table_keys, shift, keys[i])])
            total += q * values[i] if len(values) else q
        logits[row] += bias + total / SCALE


class ServedWeights(ABC):
    """The weights of one version in memory, in any form. bias: a logit."""

    bias: float

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of memory the table takes."""

    def logit(self, indptr: I64, keys: U64, values: F64, offset: F64) -> F64:
        """The rows' logits: offset + bias + x·w, float64.

        Row i has the coordinates `indptr[i]` up to `indptr[i + 1]` of keys (uint64) and values
        (float64, or empty where every value is 1); repeats add up. A logit differs from the
        learner's by Σ|x| 2⁻¹³ at most, where no weight saturated. Raises ValueError for arrays that
        do not fit together.
        """
        logits = np.array(offset, np.float64)
        self._add(batch_of(indptr, keys, values, len(logits)), logits)
        return logits

    @abstractmethod
    def _add(self, batch: Batch, logits: F64) -> None:
        """Add bias + x·w to the logits."""


class ServingTable(ServedWeights):
    """The weights of one version, read-only; any number of threads may score with it."""

    def __init__(self, keys: U64, q: I16, bias: float) -> None:
        """keys: uint64, distinct, none 0. q: int16, in units of 2⁻¹³. bias: a logit.

        Raises ValueError if keys and q differ in length, or a key is 0.
        """
        if len(keys) != len(q):
            raise ValueError(f"{len(keys)} keys but {len(q)} weights")
        refuse_zero(keys)
        capacity = 2
        while room(capacity) < len(keys):
            capacity *= 2
        self.bias = bias
        self._shift = home_shift(capacity)
        self._keys: U64 = np.zeros(capacity, np.uint64)
        self._q: I16 = np.zeros(capacity, np.int16)
        _fill(self._keys, self._q, self._shift, np.array(keys, np.uint64), np.array(q, np.int16))

    @property
    def nbytes(self) -> int:
        """Bytes of memory the table takes."""
        return self._keys.nbytes + self._q.nbytes

    def _add(self, batch: Batch, logits: F64) -> None:
        _score(self._keys, self._q, self._shift, self.bias, batch, logits)
