"""What kernels ask of the processor, compiled, against the same in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.growth import reserved
from ftrl.table import LAYOUTS
from streams import intrinsics
from streams.intrinsics import CACHE_LINE, NOWHERE, a_line, ahead, trailing_zeros
from streams.jit import U64, kernel

pytestmark = pytest.mark.kernel

WORDS = st.integers(0, 2**64 - 1)


@kernel
def zeros_of(word: np.uint64) -> int:
    return trailing_zeros(word)


@kernel
def steps(records: np.ndarray, key: np.uint64, found: U64) -> int:
    for i in range(len(records)):
        found[i] = min(ahead(records, i, key), NOWHERE)
    return a_line(records)


@settings(deadline=None)  # compiles
@given(WORDS | st.integers(0, 63).map(lambda bit: 1 << bit))
def test_trailing_zeros(word: int) -> None:
    written = f"{word:064b}"
    expected = len(written) - len(written.rstrip("0"))
    assert zeros_of(np.uint64(word)) == intrinsics.trailing_zeros(np.uint64(word)) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_next_record_of_a_line_with_a_key(layout: str) -> None:
    """Whatever the records hold beside their keys, above all the same bits as a key's."""
    rng = np.random.default_rng(1)
    records = reserved(256, LAYOUTS[layout])
    width = records.dtype["key"].itemsize
    key = np.uint64(0x3F800000_3F800000 >> (64 - 8 * width))
    records.view(np.uint8)[:] = np.tile(np.frombuffer(key.tobytes()[:width], np.uint8), 256 * 8)[
        : records.nbytes
    ]
    records["key"] = rng.integers(1, 4, len(records))
    records["key"][rng.random(len(records)) < 0.2] = key
    found = np.empty(len(records), np.uint64)
    line = CACHE_LINE // records.itemsize
    assert steps(records, key, found) == line
    for i in range(len(records)):
        rest = records["key"][i : i + line - i % line] == key
        assert found[i] == (np.argmax(rest) if rest.any() else NOWHERE)
        assert min(intrinsics.ahead(records, i, key), NOWHERE) == found[i]
