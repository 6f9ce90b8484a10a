"""From a field's values to 64-bit coordinates: seeds, bytes, missing values, lists, crosses.

Training and serving share this code, so a coordinate means the same in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.compute.arrays import F64, I64, U64
from streams.compute.floats import float64
from streams.compute.jit import kernel
from streams.compute.murmur3 import MAX_SEED, fmix64, hash128
from streams.compute.splitmix import GOLDEN

NONE = np.uint64(0)  # no coordinate: a hash of 0 becomes ONE
ONE = np.uint64(1)

_GOLDEN = np.uint64(GOLDEN)

# Floats of these sizes are written without an exponent: by `repr` from the first to the second, by
# Arrow up to the third, unless they are whole.
_LEAST_AS_DIGITS, _WHOLE_AS_DIGITS, _ARROW_AS_DIGITS = 1e-4, 1e16, 1e10


@dataclass(frozen=True, slots=True)
class Hashed:
    """The coordinates one field, or one cross, gives to the rows of a batch.

    keys: U64 [nnz], none of them 0. indptr: I64 [rows + 1], row i has
    `keys[indptr[i]:indptr[i + 1]]`; None where every row has exactly one.
    values: F64 [nnz]; None where every value is 1.
    """

    keys: U64
    indptr: I64 | None = None
    values: F64 | None = None

    def pointers(self) -> I64:
        """`indptr`, spelled out where every row has one coordinate."""
        return np.arange(len(self.keys) + 1) if self.indptr is None else self.indptr


def name_seed(name: str) -> int:
    """The 32-bit seed of a field's, or a cross's, name: MurmurHash3 x86 32, seed 0."""
    return mmh3.hash(name, 0, signed=False)


class Hasher:
    """Hashes the values of one field under the seed of its name.

    missing: the coordinate of a missing value, U64.
    """

    def __init__(self, name: str, null: np.uint64 | None = None) -> None:
        """name: what to hash under. null: what null and NaN become, default `missing`."""
        self._seed = name_seed(name)
        self.missing = np.uint64(mmh3.hash64(b"", self._seed ^ MAX_SEED, signed=False)[0] or 1)
        self._null = self.missing if null is None else null
        self._last = (pa.array([], pa.string()), np.array([self._null]))

    def keys(self, values: pa.Array) -> U64:
        """The coordinate of each value, U64 of its length.

        values: strings (small or large offsets), integers, booleans, floats of any width, nulls,
        or a dictionary of these. A dictionary's values are hashed once for all batches that share
        it. Raises ValueError for other types.
        """
        kind = values.type
        _require_hashable(kind.value_type if pa.types.is_dictionary(kind) else kind)
        if _is_string(kind):
            return self._hash(values)
        if not pa.types.is_dictionary(kind):
            values = values.dictionary_encode()
        codes = values.indices
        if codes.type != pa.int32():
            codes = codes.cast(pa.int32())
        if codes.null_count:
            codes = codes.fill_null(len(values.dictionary))
        keys: U64 = self._table(values.dictionary).take(codes.to_numpy())
        return keys

    def _hash(self, values: pa.Array) -> U64:
        strings = _text(values)
        keys, _ = hash128(strings, self._seed)
        keys[keys == NONE] = ONE
        if strings.null_count:
            keys[strings.is_null().to_numpy(zero_copy_only=False)] = self._null
        return keys

    def _table(self, dictionary: pa.Array) -> U64:
        """Hashes of a dictionary's values, then the one for null; kept for the next batch."""
        last, table = self._last
        if not _same_memory(last, dictionary):
            table = np.append(self._hash(dictionary), self._null)
            # While the dictionary is referenced here, no other can have its addresses.
            self._last = (dictionary, table)
        return table


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _require_hashable(kind: pa.DataType) -> None:
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not (_is_string(kind) or numeric or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise ValueError(f"cannot hash values of type {kind}; use strings, numbers or booleans")


def _text(values: pa.Array) -> pa.Array:
    """The values as the strings whose UTF-8 bytes are hashed; null where there is none.

    Integers in decimal; booleans `true`, `false`; floats as `_shortest` writes them.
    """
    if _is_string(values.type):
        return values
    return _shortest(values) if pa.types.is_floating(values.type) else values.cast(pa.string())


def _shortest(values: pa.Array) -> pa.Array:
    """Floats as Python's `repr`, the shortest that reads back as the same float64, `.0` cut off.

    So 1.0 is `1`, as an integer would be, and −0.0 `0`; but 1e16 is `1e+16`, 1e-7 `1e-07`,
    infinity `inf`. Null where they are null or NaN.
    """
    wide = float64(values)
    numbers: F64 = wide.to_numpy(zero_copy_only=False)
    size, missing = np.abs(numbers), np.isnan(numbers)
    whole = (np.trunc(numbers) == numbers) & (size < _WHOLE_AS_DIGITS)
    digits = pa.array(np.where(whole, numbers, 0.0).astype(np.int64)).cast(pa.string())
    text = pc.if_else(pa.array(whole), digits, wide.cast(pa.string()))
    # Arrow writes exponents for other sizes than `repr`, and in another form.
    differing = ~whole & ~missing & ((size < _LEAST_AS_DIGITS) | (size >= _ARROW_AS_DIGITS))
    if differing.any():
        written = [repr(number).removesuffix(".0") for number in numbers[differing].tolist()]
        text = pc.replace_with_mask(text, pa.array(differing), pa.array(written, pa.string()))
    return pc.if_else(pa.array(missing), None, text)


def _same_memory(a: pa.Array, b: pa.Array) -> bool:
    return (a.type, len(a), a.offset, _addresses(a)) == (b.type, len(b), b.offset, _addresses(b))


def _addresses(array: pa.Array) -> list[int | None]:
    return [buffer and buffer.address for buffer in array.buffers()]


def distinct(starts: I64, ends: I64, keys: U64, missing: np.uint64) -> Hashed:
    """One coordinate for each distinct element of each row's list, in order of appearance.

    starts, ends: I64 [rows], row i has `keys[starts[i]:ends[i]]`. An element that is `NONE`
    is skipped, and a row left with no element gets `missing`.
    """
    lengths = ends - starts
    slots = 1 << (2 * int(lengths.max(initial=0))).bit_length()  # at most half full
    out = np.empty(int(np.maximum(lengths, 1).sum()), np.uint64)
    indptr = np.zeros(len(starts) + 1, np.int64)
    seen, owner = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    _distinct(starts, ends, keys, missing, seen, owner, out, indptr)
    return Hashed(out[: indptr[-1]], indptr)


@kernel
def _distinct(
    starts: I64, ends: I64, keys: U64, missing: np.uint64, seen: U64, owner: I64,
    out: U64, indptr: I64,
) -> None:  # fmt: skip
    """Fill `out` and `indptr`; see `distinct`.

    One open-addressing set serves all rows: a slot is empty unless its owner is row + 1.
    """
    last = seen.size - 1
    end = 0
    for row in range(starts.size):
        for i in range(starts[row], ends[row]):
            key = keys[i]
            if key == NONE:
                continue
            slot = np.int64(key & np.uint64(last))
            while owner[slot] == row + 1 and seen[slot] != key:
                slot = (slot + 1) & last
            if owner[slot] != row + 1:
                owner[slot] = row + 1
                seen[slot] = key
                out[end] = key
                end += 1
        if end == indptr[row]:
            out[end] = missing
            end += 1
        indptr[row + 1] = end


def cross(seed: int, parts: Sequence[Hashed]) -> Hashed:
    """Every combination of the parts' coordinates, row by row, the first part slowest.

    Start with h = `seed`; for each part in order h = fmix64(h · GOLDEN + part) mod 2⁶⁴; a
    result of 0 becomes 1. A row in which some part has no coordinate gets none.
    """
    if all(part.indptr is None for part in parts):
        keys = np.empty_like(parts[0].keys)
        _mix(np.uint64(seed), np.stack([part.keys for part in parts]), keys)
        return Hashed(keys)
    product = Hashed(np.full(len(parts[0].pointers()) - 1, seed, np.uint64))
    for part in parts:
        product = _multiply(product, part)
    product.keys[product.keys == NONE] = ONE
    return product


def _multiply(left: Hashed, right: Hashed) -> Hashed:
    """The product of two factors, row by row, before 0 becomes 1; see `cross`."""
    left_indptr, right_indptr = left.pointers(), right.pointers()
    indptr = np.zeros_like(left_indptr)
    np.cumsum(np.diff(left_indptr) * np.diff(right_indptr), out=indptr[1:])
    keys = np.empty(indptr[-1], np.uint64)
    _mix_pairs(left_indptr, left.keys, right_indptr, right.keys, keys)
    return Hashed(keys, indptr)


@kernel
def _mix(seed: np.uint64, parts: U64, out: U64) -> None:
    """Cross the parts [parts, rows], one coordinate a row in each."""
    for row in range(out.size):
        h = seed
        for part in range(parts.shape[0]):
            h = fmix64(h * _GOLDEN + parts[part, row])
        out[row] = ONE if h == NONE else h


@kernel
def _mix_pairs(left_indptr: I64, left: U64, right_indptr: I64, right: U64, out: U64) -> None:
    """Cross each row's left coordinates with its right ones.

    left_indptr, right_indptr: the rows of `left` and `right`.
    """
    end = 0
    for row in range(left_indptr.size - 1):
        for i in range(left_indptr[row], left_indptr[row + 1]):
            for j in range(right_indptr[row], right_indptr[row + 1]):
                out[end] = fmix64(left[i] * _GOLDEN + right[j])
                end += 1
