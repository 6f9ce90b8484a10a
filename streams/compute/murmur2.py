"""MurmurHash2 as Kafka's default partitioner uses it: which partition an id belongs to.

Austin Appleby's public-domain algorithm, 32 bits, with Kafka's seed; the numbers of
`org.apache.kafka.common.utils.Utils.murmur2`.
"""

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I32, I64, U8, U32
from streams.compute.jit import kernel
from streams.compute.murmur3 import text_buffers

# In 64 bits, of which the upper half is cut off after every product: Numba would widen them anyway.
_M = np.uint64(0x5BD1E995)
_SEED = np.uint64(0x9747B28C)
_MASK = np.uint64(0xFFFFFFFF)
_U0, _U1, _U2, _U3, _U4 = (np.uint64(i) for i in range(5))
_U8, _U13, _U15, _U16, _U24 = (np.uint64(i) for i in (8, 13, 15, 16, 24))
_POSITIVE = np.uint32(0x7FFFFFFF)


def murmur2(array: pa.Array) -> U32:
    """The hash of each string of an Arrow array, uint32 [rows]; a null hashes as the empty string.

    array: strings or binaries. Raises ValueError for another type.
    """
    data, offsets = text_buffers(array)
    hashes = np.empty(len(array), np.uint32)
    _murmur2(data, offsets, hashes)
    return hashes


def partitions_of(ids: pa.Array, partitions: int) -> I32:
    """The partition of each id (UTF-8 strings) in topics with so many partitions, int32 [rows]."""
    positive = murmur2(ids) & _POSITIVE
    return (positive % np.uint32(partitions)).astype(np.int32)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of one id."""
    data = np.frombuffer(key, np.uint8)
    offsets = np.array([0, len(key)], np.int32)
    offsets.flags.writeable = False
    hashes = np.empty(1, np.uint32)
    _murmur2(data, offsets, hashes)
    return int(hashes[0] & _POSITIVE) % partitions


@kernel
def _murmur2(data: U8, offsets: I32 | I64, hashes: U32) -> None:
    """Row i hashes `data[offsets[i]:offsets[i + 1]]`: words of 4 bytes, tail, finalizer."""
    for row in range(hashes.size):
        i = np.uint64(offsets[row])
        length = np.uint64(offsets[row + 1]) - i
        h = _SEED ^ length
        for _ in range(length // _U4):
            k = (
                np.uint64(data[i])
                | np.uint64(data[i + _U1]) << _U8
                | np.uint64(data[i + _U2]) << _U16
                | np.uint64(data[i + _U3]) << _U24
            )
            k = (k * _M) & _MASK
            k = ((k ^ (k >> _U24)) * _M) & _MASK
            h = ((h * _M) & _MASK) ^ k
            i += _U4
        tail = length & _U3
        if tail == _U3:
            h ^= np.uint64(data[i + _U2]) << _U16
        if tail >= _U2:
            h ^= np.uint64(data[i + _U1]) << _U8
        if tail >= _U1:
            h = ((h ^ np.uint64(data[i])) * _M) & _MASK
        h = ((h ^ (h >> _U13)) * _M) & _MASK
        hashes[row] = np.uint32(h ^ (h >> _U15))
