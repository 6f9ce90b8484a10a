"""The weights of a model of layout q2.13 as they are served: 6 bytes each.

A key is kept as the learner tells it from others, by bucket and by a tag of 32 bits
(`ftrl.table.layout`). The arrays of a version are searched as they are: tags are hashes, so one is
found in its bucket's ascending tags close to where its size says (interpolation search: Perl et
al., CACM 1978).
"""

from typing import NamedTuple

import numpy as np

from ftrl.kernels.batch import Batch
from ftrl.serving.table import ServedWeights
from ftrl.table.fixedpoint import SCALE
from ftrl.table.layout import BUCKET, bucket_of, tag_of
from streams.compute.arrays import F64, I16, I64, U16, U32, U64, read_only
from streams.compute.jit import inlined, kernel

_TAG_BITS = np.uint64(32)


class BucketedKeys(NamedTuple):
    """Keys by bucket. counts: uint16 [buckets], keys of each. tags: uint32, ascending in each."""

    counts: U16
    tags: U32


def bucketed_keys(keys: U64, buckets: int) -> BucketedKeys:
    """The keys (uint64, ascending) of a model whose slots are in so many `buckets`."""
    bucket, tags = np.empty(len(keys), np.int64), np.empty(len(keys), np.uint32)
    _split(keys, buckets, bucket, tags)
    return BucketedKeys(np.bincount(bucket, minlength=buckets).astype(np.uint16), tags)


@kernel
def _split(keys: U64, buckets: int, bucket: I64, tags: U32) -> None:
    """Put the number of each key's bucket into `bucket`, and its tag into `tags`."""
    for i in range(len(keys)):
        bucket[i] = np.int64(bucket_of(buckets, keys[i]))
        tags[i] = np.uint32(tag_of(keys[i]))


@inlined
def _weight(starts: U32, tags: U32, q: I16, key: np.uint64) -> float:
    """The weight of `key` in units of 2⁻¹³; 0 if it has none."""
    bucket = np.int64(bucket_of(len(starts) - 1, key))
    first, end = np.int64(starts[bucket]), np.int64(starts[bucket + 1])
    tag = tag_of(key)
    index = first + np.int64((tag * np.uint64(end - first)) >> _TAG_BITS)
    while index > first and tags[index - 1] >= tag:
        index -= 1
    while index < end and tags[index] < tag:
        index += 1
    return np.float64(q[index]) if index < end and tags[index] == tag else 0.0


@kernel
def _score(starts: U32, tags: U32, q: I16, bias: float, batch: Batch, logits: F64) -> None:
    """Add bias + x·w to the logits."""
    indptr, keys, values = batch
    for row in range(len(logits)):
        total = 0.0
        for i in range(indptr[row], indptr[row + 1]):
            weight = _weight(starts, tags, q, keys[i])
            total += weight * values[i] if len(values) else weight
        logits[row] += bias + total / SCALE


class BucketedServingTable(ServedWeights):
    """The weights of one version of layout q2.13, read-only; any number of threads may score."""

    def __init__(self, keys: BucketedKeys, q: I16, bias: float) -> None:
        """keys: of the weights. q: int16, the weights in units of 2⁻¹³. bias: a logit.

        Raises ValueError if keys and weights do not fit together, or a bucket's tags do not ascend.
        """
        counts, tags = keys
        if not len(tags) == len(q) == counts.sum(dtype=np.int64):
            raise ValueError(f"{counts.sum()} keys in buckets, {len(tags)} tags, {len(q)} weights")
        if len(counts) == 0 or counts.max() > BUCKET:
            raise ValueError(f"one bucket or more is needed, and each holds up to {BUCKET} keys")
        self.bias = bias
        self._starts: U32 = np.zeros(len(counts) + 1, np.uint32)
        np.cumsum(counts, out=self._starts[1:])
        first = np.zeros(len(tags) + 1, np.bool_)
        first[self._starts] = True
        if not (first[1:-1] | (tags[1:] > tags[:-1])).all():
            raise ValueError("the tags of a bucket do not ascend")
        self._tags, self._q = read_only(tags, np.uint32), read_only(q, np.int16)

    @property
    def nbytes(self) -> int:
        """Bytes of memory the table takes."""
        return self._starts.nbytes + self._tags.nbytes + self._q.nbytes

    def _add(self, batch: Batch, logits: F64) -> None:
        _score(self._starts, self._tags, self._q, self.bias, batch, logits)
