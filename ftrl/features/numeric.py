"""Numbers as coordinates: logarithmic buckets, carried values, learned quantiles."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ftrl.features.hashing import Hashed, Hasher
from streams.compute.arrays import F64, I64, U64
from streams.compute.floats import float64
from streams.compute.jit import kernel

_MANTISSA = 52  # bits of a float64's fraction
_MAGNITUDE = np.int64(2**63 - 1)  # all bits but the sign
_INFINITY = np.int64(0x7FF << _MANTISSA)


def _floats(column: pa.Array) -> F64:
    """The column as float64, NaN where null. Raises ValueError if it is not of numbers."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise ValueError(f"expected numbers, found values of type {kind}")
    column = float64(column)
    if column.null_count:
        column = column.fill_null(float("nan"))
    values: F64 = column.to_numpy()
    return values


def _table(hasher: Hasher, names: pa.Array) -> U64:
    """The coordinates of `names`, then the missing one."""
    return np.append(hasher.keys(names), hasher.missing)


class Bucket:
    """Logarithmic buckets: 2^m an octave, read from the float's own bits.

    A number v hashes as `b` and the integer bits(|v|) >> (52 − m), with its minus sign for
    v < 0: no logarithm is computed, so the edges are the same on every machine.
    """

    def __init__(self, name: str, mantissa_bits: int) -> None:
        """name: what to hash under. mantissa_bits: m, from 0 to 8."""
        self._hasher = Hasher(name)
        self._shift = np.int64(_MANTISSA - mantissa_bits)
        # By bucket, negative ones from the end, 0 until one is hashed; behind that of infinity the
        # missing key.
        infinity = int(_INFINITY >> self._shift)
        self._keys = np.zeros(2 * infinity + 2, np.uint64)
        self._keys[infinity + 1] = self._hasher.missing

    def encode(self, column: pa.Array) -> Hashed:
        """One coordinate a row."""
        bits = _floats(column).view(np.int64)
        buckets = np.empty(len(bits), np.int64)
        _bucket(bits, self._shift, buckets)
        keys = self._keys.take(buckets)
        if not keys.all():
            new = np.unique(buckets[keys == 0])
            self._keys[new] = self._hasher.keys(pa.array([f"b{i}" for i in new.tolist()]))
            keys = self._keys.take(buckets)
        return Hashed(keys)


@kernel
def _bucket(bits: I64, shift: np.int64, out: I64) -> None:
    """The bucket of each float; for NaN the one after infinity's."""
    for row in range(bits.size):
        magnitude = bits[row] & _MAGNITUDE
        if magnitude > _INFINITY:
            out[row] = (_INFINITY >> shift) + 1
        elif bits[row] < 0:
            out[row] = -(magnitude >> shift)
        else:
            out[row] = magnitude >> shift


class Value:
    """One coordinate, of no bytes, that carries the number; a missing one carries 1.

    An infinite number counts as missing: a single one would ruin its weight for good.
    """

    def __init__(self, name: str) -> None:
        """name: what to hash under."""
        self._table = _table(Hasher(name), pa.array([""]))

    def encode(self, column: pa.Array) -> Hashed:
        """One coordinate a row, with its value."""
        values = _floats(column)
        finite = np.isfinite(values)
        keys = self._table.take((~finite).view(np.int8))
        return Hashed(keys, values=np.where(finite, values, 1.0))


class Quantile:
    """Buckets between edges: a number v hashes as `q` and the count of edges ≤ v.

    Without edges, the edges are learned from the first `learn_from` finite values. Rows up to and
    including the one with the last of these values get no coordinate, not even a missing one; where
    a batch is split never changes that.

    edges: F64, ascending; None until known.
    """

    def __init__(
        self, name: str, edges: Sequence[float] | None, buckets: int, learn_from: int
    ) -> None:
        """name: what to hash under. buckets: how many to aim at when learning edges."""
        self._hasher = Hasher(name)
        self._buckets = buckets
        self._learn_from = learn_from
        self._sample: F64 = np.empty(0)
        self.edges: F64 | None = None
        if edges is not None:
            self._freeze(np.array(edges, np.float64))

    def encode(self, column: pa.Array) -> Hashed:
        """One coordinate a row; none while there are no edges."""
        values = _floats(column)
        return self._encode(values, len(values) if self.edges is None else 0)

    def learn_and_encode(self, column: pa.Array) -> Hashed:
        """Encode the column; while there are no edges, first learn from its values."""
        values = _floats(column)
        return self._encode(values, self._observe(values) if self.edges is None else 0)

    def state(self) -> dict[str, list[float]]:
        """The `edges`, or the `sample` from which edges will be learned."""
        if self.edges is None:
            return {"sample": self._sample.tolist()}
        return {"edges": self.edges.tolist()}

    def restore(self, state: Mapping[str, Sequence[float]]) -> None:
        """Continue from a `state()`."""
        if "edges" in state:
            self._freeze(np.array(state["edges"], np.float64))
        else:
            self.edges, self._sample = None, np.array(state["sample"], np.float64)

    def _freeze(self, edges: F64) -> None:
        self.edges, self._sample = edges, np.empty(0)
        self._table = _table(self._hasher, pa.array([f"q{i}" for i in range(len(edges) + 1)]))

    def _observe(self, values: F64) -> int:
        """Take values into the sample; returns the first row for which edges are known, or rows."""
        finite = np.flatnonzero(np.isfinite(values))
        taken = finite[: self._learn_from - len(self._sample)]
        self._sample = np.append(self._sample, values[taken])
        if len(self._sample) < self._learn_from:
            return len(values)
        self._freeze(quantile_edges(self._sample, self._buckets))
        return int(taken[-1]) + 1

    def _encode(self, values: F64, first: int) -> Hashed:
        """One coordinate a row from row `first` on."""
        rows = len(values)
        if self.edges is None:
            return Hashed(np.empty(0, np.uint64), np.zeros(rows + 1, np.int64))
        codes = np.searchsorted(self.edges, values[first:], side="right")
        codes[np.isnan(values[first:])] = len(self._table) - 1
        keys = self._table.take(codes)
        return Hashed(keys, np.maximum(np.arange(rows + 1) - first, 0) if first else None)


def quantile_edges(sample: F64, buckets: int) -> F64:
    """The inner edges that cut a sample of n into equal parts, F64, ascending and distinct.

    Edge k of `buckets` − 1 is element ⌊k n / buckets⌋ of the sorted sample: a number that
    occurred, so nothing is interpolated. Fewer edges where numbers repeat.
    """
    ranks = np.arange(1, buckets) * len(sample) // buckets
    return np.unique(np.sort(sample)[ranks]) + 0.0  # −0 becomes 0
