"""The weights of a model of layout q2.13 as they are served: 6 bytes each.

Keys are left as the learner tells them apart, by group and by a tag of 32 bits
(`ftrl.table.layout`). The arrays of a version are searched as they are: tags are hashes, so in a
group's ascending tags one is found close to where its size says (interpolation search: Perl et al.,
CACM 1978).
"""

from typing import NamedTuple

import numpy as np

from ftrl.kernels.batch import Batch, read_only
from ftrl.serving.table import Served
from ftrl.table.fixedpoint import SCALE
from ftrl.table.layout import GROUP, group_of, tag_of
from streams.compute.arrays import F64, I16, I64, U16, U32, U64
from streams.compute.jit import inlined, kernel

_TAG_BITS = np.uint64(32)


class GroupedKeys(NamedTuple):
    """Keys by group. counts: uint16 [groups], keys of each. tags: uint32, ascending in each."""

    counts: U16
    tags: U32


def grouped_keys(keys: U64, groups: int) -> GroupedKeys:
    """What a model whose slots are in so many `groups` needs of its keys (uint64, ascending)."""
    of_keys, tags = np.empty(len(keys), np.int64), np.empty(len(keys), np.uint32)
    _split(keys, groups, of_keys, tags)
    return GroupedKeys(np.bincount(of_keys, minlength=groups).astype(np.uint16), tags)


@kernel
def _split(keys: U64, groups: int, of_keys: I64, tags: U32) -> None:
    for i in range(len(keys)):
        of_keys[i] = np.int64(group_of(groups, keys[i]))
        tags[i] = np.uint32(tag_of(keys[i]))


@inlined
def _weight(starts: U32, tags: U32, q: I16, key: np.uint64) -> float:
    """The weight of `key` in units of 2⁻¹³; 0 if it has none."""
    group = np.int64(group_of(len(starts) - 1, key))
    first, end = np.int64(starts[group]), np.int64(starts[group + 1])
    tag = tag_of(key)
    at = first + np.int64((tag * np.uint64(end - first)) >> _TAG_BITS)
    while at > first and tags[at - 1] >= tag:
        at -= 1
    while at < end and tags[at] < tag:
        at += 1
    return np.float64(q[at]) if at < end and tags[at] == tag else 0.0


@kernel
def _score(starts: U32, tags: U32, q: I16, bias: float, batch: Batch, logits: F64) -> None:
    indptr, keys, values = batch
    for row in range(len(logits)):
        total = 0.0
        for i in range(indptr[row], indptr[row + 1]):
            weight = _weight(starts, tags, q, keys[i])
            total += weight * values[i] if len(values) else weight
        logits[row] += bias + total / SCALE


class GroupedServingTable(Served):
    """The weights of one version of layout q2.13, read-only; any number of threads may score.

    keys: of the weights. q: int16 in units of 2⁻¹³. bias: a logit. Raises ValueError if they do not
    fit together, or a group's tags do not ascend.
    """

    def __init__(self, keys: GroupedKeys, q: I16, bias: float) -> None:
        counts, tags = keys
        if not len(tags) == len(q) == counts.sum(dtype=np.int64):
            raise ValueError(f"{counts.sum()} keys in groups, {len(tags)} tags, {len(q)} weights")
        if len(counts) == 0 or counts.max() > GROUP:
            raise ValueError(f"groups must hold up to {GROUP} keys, and there must be one at least")
        self.bias = bias
        self._starts: U32 = np.zeros(len(counts) + 1, np.uint32)
        np.cumsum(counts, out=self._starts[1:])
        first = np.zeros(len(tags) + 1, np.bool_)
        first[self._starts] = True
        if not (first[1:-1] | (tags[1:] > tags[:-1])).all():
            raise ValueError("the tags of a group do not ascend")
        self._tags, self._q = read_only(tags, np.uint32), read_only(q, np.int16)

    @property
    def nbytes(self) -> int:
        """Bytes of memory the table takes."""
        return self._starts.nbytes + self._tags.nbytes + self._q.nbytes

    def _add(self, batch: Batch, logits: F64) -> None:
        _score(self._starts, self._tags, self._q, self.bias, batch, logits)
