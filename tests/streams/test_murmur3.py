"""MurmurHash3 over Arrow buffers equals `mmh3`, whatever the layout of the array."""

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.compute.murmur3 import fmix64, hash128
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()]


def halves(array: pa.Array, seed: int = 0) -> list[tuple[int, int]]:
    low, high = hash128(array, seed)
    assert low.dtype == high.dtype == np.uint64
    return list(zip(low.tolist(), high.tolist(), strict=True))


def expected(values: list[bytes | None], seed: int = 0) -> list[tuple[int, int]]:
    return [(0, 0) if v is None else mmh3.hash64(v, seed, signed=False) for v in values]


def test_published_vectors() -> None:
    fox = "The quick brown fox jumps over the lazy dog"
    assert halves(pa.array([fox, "", None])) == [
        (0xE34BBC7BBC071B6C, 0x7A433CA9C49A9347),
        (0, 0),
        (0, 0),
    ]
    assert [int(fmix64(np.uint64(k))) for k in (0, 1)] == [0, 0xB456BCFC34C2CB2C]


@settings(max_examples=tries(60))
@given(
    values=st.lists(st.none() | st.text(max_size=50), max_size=12),
    seed=st.integers(0, 2**32 - 1),
    arrow_type=st.sampled_from(TYPES),
    cut=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_any_strings(
    values: list[str | None], seed: int, arrow_type: pa.DataType, cut: tuple[int, int]
) -> None:
    encoded = [None if v is None else v.encode() for v in values]
    array = pa.array(encoded, pa.binary()).cast(arrow_type)
    stop = max(cut[0], len(values) - cut[1])
    assert halves(array.slice(cut[0], stop - cut[0]), seed) == expected(
        encoded[cut[0] : stop], seed
    )


@pytest.mark.parametrize("arrow_type", TYPES, ids=str)
def test_every_length_at_every_distance_from_the_end_of_the_buffer(arrow_type: pa.DataType) -> None:
    data = bytes(range(200, 250))  # not UTF-8: the kernel does not decode
    large = arrow_type in (pa.large_string(), pa.large_binary())
    for length in range(len(data) + 1):
        middle = (length + len(data)) // 2
        offsets = np.array([0, length, middle, len(data)], np.int64 if large else np.int32)
        array = pa.Array.from_buffers(
            arrow_type, 3, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        )
        assert halves(array, 7) == expected([data[:length], data[length:middle], data[middle:]], 7)


def test_a_null_with_bytes_under_it_is_null() -> None:
    whole = pa.array(["one", "two", "three"])
    masked = pa.Array.from_buffers(
        pa.string(), 3, [pa.py_buffer(bytes([0b101])), *whole.buffers()[1:]]
    )
    assert halves(masked, 3) == expected([b"one", None, b"three"], 3)


def test_writable_buffers_hash_the_same() -> None:
    data, offsets = bytearray(b"onetwo"), np.array([0, 3, 6], np.int32)
    array = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    assert halves(array) == expected([b"one", b"two"])


@pytest.mark.parametrize("arrow_type", TYPES, ids=str)
def test_arrays_without_a_value(arrow_type: pa.DataType) -> None:
    assert halves(pa.array([], arrow_type)) == []
    assert halves(pa.nulls(2, arrow_type), 5) == [(0, 0), (0, 0)]
    assert halves(pa.array([b""]).cast(arrow_type), 5) == expected([b""], 5)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="cannot hash values of type int64"):
        hash128(pa.array([1]))
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed {seed} is outside"):
            hash128(pa.array(["a"]), seed)
