"""MurmurHash3 x64 128 of every string of an Arrow array, straight from its buffers.

Austin Appleby's public-domain algorithm; the same numbers as `mmh3.hash64(bytes, seed)`.
"""

from typing import cast

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I32, I64, U8, U64
from streams.compute.jit import kernel

MAX_SEED = 2**32 - 1

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_BLOCK1 = np.uint64(0x52DCE729)
_BLOCK2 = np.uint64(0x38495AB5)
_FMIX1 = np.uint64(0xFF51AFD7ED558CCD)
_FMIX2 = np.uint64(0xC4CEB9FE1A85EC53)
_U0, _U1, _U2, _U3, _U4 = (np.uint64(i) for i in range(5))
_U5, _U6, _U7, _U8, _U16 = (np.uint64(i) for i in (5, 6, 7, 8, 16))
_U24, _U27, _U31, _U32, _U33 = (np.uint64(i) for i in (24, 27, 31, 32, 33))
_U40, _U48, _U56, _U64 = (np.uint64(i) for i in (40, 48, 56, 64))
_U15 = np.uint64(15)

_OFFSETS: dict[pa.DataType, np.dtype[np.int32] | np.dtype[np.int64]] = {
    pa.string(): np.dtype(np.int32),
    pa.binary(): np.dtype(np.int32),
    pa.large_string(): np.dtype(np.int64),
    pa.large_binary(): np.dtype(np.int64),
}


def hash128(array: pa.Array, seed: int = 0) -> tuple[U64, U64]:
    """Both 64-bit halves of each value's hash, low then high, each of length `len(array)`.

    array: strings or binaries, small or large offsets, whole or sliced. seed: 32 bits,
    unsigned. A null gives 0 in both halves; so does an empty value under seed 0.
    Raises ValueError for another Arrow type or a seed out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed {seed} is outside 0 to {MAX_SEED}")
    data, offsets = text_buffers(array)
    low, high = np.empty(len(array), np.uint64), np.empty(len(array), np.uint64)
    _hash128(data, offsets, np.uint64(seed), low, high)
    if array.null_count:
        null = array.is_null().to_numpy(zero_copy_only=False)
        low[null] = high[null] = 0
    return low, high


def text_buffers(array: pa.Array) -> tuple[U8, I32 | I64]:
    """The bytes of an array of strings or binaries, and the offsets of its values in them.

    Value i is `data[offsets[i]:offsets[i + 1]]`; read-only views, no copies. Raises ValueError
    for another Arrow type.
    """
    offset_type = _OFFSETS.get(array.type)
    if offset_type is None:
        raise ValueError(f"cannot hash values of type {array.type}; strings are expected")
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0:
        offset_buffer, start = bytes(offset_type.itemsize), 0
    else:
        start = array.offset * offset_type.itemsize
    offsets = cast(I32 | I64, np.frombuffer(offset_buffer, offset_type, len(array) + 1, start))
    data = np.frombuffer(data_buffer or b"", np.uint8)
    # Numba compiles read-only and writable arrays apart: one of them is enough.
    offsets.flags.writeable = data.flags.writeable = False
    return data, offsets


@kernel
def fmix64(k: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finalizer: a bijection in which every bit affects every other."""
    k = (k ^ (k >> _U33)) * _FMIX1
    k = (k ^ (k >> _U33)) * _FMIX2
    return k ^ (k >> _U33)


@kernel
def _rotate(x: np.uint64, bits: np.uint64) -> np.uint64:
    return (x << bits) | (x >> (_U64 - bits))


@kernel
def _scramble1(k: np.uint64) -> np.uint64:
    return _rotate(k * _C1, _U31) * _C2


@kernel
def _scramble2(k: np.uint64) -> np.uint64:
    return _rotate(k * _C2, _U33) * _C1


@kernel
def _word(data: U8, i: np.uint64) -> np.uint64:
    """The 8 bytes at `i`, little endian. Unsigned indices let LLVM make it a single load."""
    return (
        np.uint64(data[i])
        | np.uint64(data[i + _U1]) << _U8
        | np.uint64(data[i + _U2]) << _U16
        | np.uint64(data[i + _U3]) << _U24
        | np.uint64(data[i + _U4]) << _U32
        | np.uint64(data[i + _U5]) << _U40
        | np.uint64(data[i + _U6]) << _U48
        | np.uint64(data[i + _U7]) << _U56
    )


@kernel
def _hash128(data: U8, offsets: I32 | I64, seed: np.uint64, low: U64, high: U64) -> None:
    """Row i hashes `data[offsets[i]:offsets[i + 1]]`: blocks of 16 bytes, tail, finalizer."""
    size = np.uint64(data.size)
    for row in range(low.size):
        i = np.uint64(offsets[row])
        length = np.uint64(offsets[row + 1]) - i
        h1 = seed
        h2 = seed
        for _ in range(length // _U16):
            h1 ^= _scramble1(_word(data, i))
            h1 = (_rotate(h1, _U27) + h2) * _U5 + _BLOCK1
            h2 ^= _scramble2(_word(data, i + _U8))
            h2 = (_rotate(h2, _U31) + h1) * _U5 + _BLOCK2
            i += _U16
        tail = length & _U15
        k1 = _U0
        k2 = _U0
        if i + _U16 <= size:
            # Reading past the string, inside the buffer, and masking beats a loop over bytes.
            mask = (_U1 << (_U8 * (tail & _U7))) - _U1
            k1 = _word(data, i)
            if tail & _U8:
                k2 = _word(data, i + _U8) & mask
            else:
                k1 &= mask
        else:
            for j in range(tail):
                byte = np.uint64(data[i + np.uint64(j)]) << (_U8 * (np.uint64(j) & _U7))
                if np.uint64(j) & _U8:
                    k2 |= byte
                else:
                    k1 |= byte
        h1 ^= _scramble1(k1) ^ length
        h2 ^= _scramble2(k2) ^ length
        h1 += h2
        h2 += h1
        h1 = fmix64(h1)
        h2 = fmix64(h2)
        h1 += h2
        low[row] = h1
        high[row] = h2 + h1
