"""What kernels ask of the processor, compiled, against the same in plain Python."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrl.table.growing import reserved
from ftrl.table.layout import LAYOUTS
from streams.compute import intrinsics
from streams.compute.arrays import I64, U64
from streams.compute.intrinsics import (
    CACHE_LINE,
    NOT_IN_LINE,
    compare_and_advance,
    find_in_line,
    load_acquire,
    records_per_line,
    sleep_briefly,
    store_release,
    trailing_zeros,
    yield_core,
)
from streams.compute.jit import kernel

pytestmark = pytest.mark.kernel

WORDS = st.integers(0, 2**64 - 1)


@kernel
def zeros_of(word: np.uint64) -> int:
    return trailing_zeros(word)


@kernel
def steps(records: np.ndarray, key: np.uint64, found: U64) -> int:
    for i in range(0, len(records), records_per_line(records)):
        found[i] = min(find_in_line(records, i, key), NOT_IN_LINE)
    return records_per_line(records)


@given(WORDS | st.integers(0, 63).map(lambda bit: 1 << bit))
def test_trailing_zeros(word: int) -> None:
    written = f"{word:064b}"
    expected = len(written) - len(written.rstrip("0"))
    assert zeros_of(np.uint64(word)) == intrinsics.trailing_zeros(np.uint64(word)) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_record_of_a_line_with_a_key(layout: str) -> None:
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
    for i in range(0, len(records), line):
        those = records["key"][i : i + line] == key
        assert found[i] == (np.argmax(those) if those.any() else NOT_IN_LINE)
        assert min(intrinsics.find_in_line(records, i, key), NOT_IN_LINE) == found[i]


@kernel
def pass_on(counters: I64, own: int, other: int, cell: I64, times: int) -> None:
    """Double the cell and add `own` whenever it is this one's turn, `times` times."""
    for turn in range(1, times + 1):
        asked = 0
        while load_acquire(counters, other) < turn - own:
            asked += 1
            if asked % 64 == 0:
                sleep_briefly()
            yield_core()
        cell[0] = 2 * cell[0] + own
        store_release(counters, own, turn)


def test_what_is_published_comes_with_all_that_was_done_before() -> None:
    counters, cell, times = np.zeros(2, np.int64), np.zeros(1, np.int64), 30
    with ThreadPoolExecutor(2) as pool:
        # The second starts; the first waits for each of its turns.
        first = pool.submit(pass_on, counters, 0, 1, cell, times)
        second = pool.submit(pass_on, counters, 1, 0, cell, times)
        first.result(timeout=120)
        second.result(timeout=120)
    assert counters.tolist() == [times, times]
    assert f"{cell[0]:b}" == "10" * times


@kernel
def draw(counters: I64, drawn: I64) -> int:
    """Take numbers until none is left; how many of them this one got."""
    got = 0
    while True:
        number = load_acquire(counters, 0)
        if number == len(drawn):
            return got
        if compare_and_advance(counters, 0, number):
            drawn[number] += 1
            got += 1


def test_a_number_is_taken_once() -> None:
    counters, drawn = np.zeros(1, np.int64), np.zeros(20_000, np.int64)
    assert not compare_and_advance(counters, 0, 1)
    with ThreadPoolExecutor(3) as pool:
        each = [pool.submit(draw, counters, drawn) for _ in range(3)]
        assert sum(one.result(timeout=120) for one in each) == len(drawn)
    assert (drawn == 1).all()
