"""q2.13, and the code of sums: close, without bias, saturating, the same wherever computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.fixedpoint import (
    HIGHEST_SUM,
    SERVING,
    decode_sum,
    dequantize,
    encode_sum,
    quantize,
    uniform,
)
from streams.jit import F64

pytestmark = pytest.mark.kernel

quick = settings(max_examples=80, deadline=None)
STEP = 2.0**-13


def rounded(values: F64, seed: int = 0, variant: int = 0, first: int = 0) -> F64:
    keys = np.arange(first, first + len(values), dtype=np.uint64)
    return dequantize(quantize(values, keys, seed=seed, kind=SERVING, variant=variant).q)


@quick
@given(st.lists(st.floats(-4, 4 - 2 * STEP), max_size=20), st.integers(0, 2**64 - 1))
def test_the_error_is_below_one_step(values: list[float], seed: int) -> None:
    exact = np.array(values, np.float64)
    assert (np.abs(rounded(exact, seed) - exact) < STEP).all()


@quick
@given(st.integers(-32768, 32767), st.integers(0, 2**64 - 1), st.integers(0, 2**63))
def test_what_can_be_written_exactly_is(q: int, seed: int, variant: int) -> None:
    assert rounded(np.array([q * STEP]), seed, variant)[0] == q * STEP


@pytest.mark.parametrize("value", [-3.99993, -1.00001, -STEP / 3, 1e-5, 0.3, 2.71828, 3.9997])
def test_the_error_is_zero_on_average(value: float) -> None:
    count = 20_000
    found = rounded(np.full(count, value))
    assert set(found / STEP) <= {np.floor(value / STEP), np.floor(value / STEP) + 1}
    # A Bernoulli variable of at most STEP: five standard deviations.
    assert abs(found.mean() - value) < 5 * STEP / 2 / count**0.5


def test_outside_the_range_it_saturates_and_counts() -> None:
    values = np.array([-1e300, -4.5, -4.0, 0.0, 4.0 - STEP, 4.0, 17.0])
    found = quantize(values, np.arange(7, dtype=np.uint64), seed=1, kind=SERVING, variant=0)
    assert found.q.tolist() == [-32768, -32768, -32768, 0, 32767, 32767, 32767]
    assert found.saturated == 4


def test_the_same_value_rounds_the_same_in_any_company() -> None:
    values = np.random.default_rng(1).normal(0, 1, 200)
    keys = np.random.default_rng(2).integers(1, 2**64, 200, dtype=np.uint64)
    order = np.random.default_rng(3).permutation(200)
    whole = quantize(values, keys, seed=5, kind=SERVING, variant=7).q
    shuffled = quantize(values[order], keys[order], seed=5, kind=SERVING, variant=7).q
    assert (whole[order] == shuffled).all()
    assert whole[3] == quantize(values[3:4], keys[3:4], seed=5, kind=SERVING, variant=7).q[0]


@pytest.mark.parametrize("changes", [{"seed": 6}, {"kind": 1}, {"variant": 8}])
def test_each_circumstance_draws_its_own(changes: dict[str, int]) -> None:
    values, keys = np.full(1000, 0.5 * STEP), np.arange(1, 1001, dtype=np.uint64)
    before = {"seed": 5, "kind": SERVING, "variant": 7}
    one = quantize(values, keys, **before).q
    other = quantize(values, keys, **(before | changes)).q
    assert 400 < (one != other).sum() < 600


def test_draws_are_uniform_and_unrelated() -> None:
    count = 20_000
    zero = np.uint64(0)
    draws = np.array([uniform(zero, zero, np.uint64(i), zero) for i in range(count)])
    assert 0 <= draws.min() < draws.max() < 1
    tenths = np.histogram(draws, 10, (0, 1))[0]
    # χ² with 9 degrees of freedom is below 33.7 with probability 0.9999.
    assert ((tenths - count / 10) ** 2 / (count / 10)).sum() < 33.7
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / count**0.5


def test_golden_draws() -> None:
    """Published versions depend on these: they must never change."""
    words = [(0, 0, 1, 0), (0, 0, 2**64 - 1, 0), (7, 1, 0xA9809ED47B222971, 3)]
    found = [int(uniform(*map(np.uint64, word)) * 2**32) for word in words]
    assert found == [2186843491, 172181484, 1350730794]


DRAWS = st.integers(0, 2**32 - 1).map(lambda k: k * 2.0**-32)
CODES = st.one_of(st.integers(0, 50), st.integers(0, 65535), st.integers(65500, 65535))


@quick
@given(CODES, DRAWS.filter(bool))
def test_a_sum_that_has_a_code_keeps_it(code: int, r: float) -> None:
    n = decode_sum(code)
    assert n == pytest.approx((2 ** (code / 2048) - 1) / 1024, rel=1e-9)
    assert encode_sum(n, r) == code


@quick
@given(st.floats(-25, np.log10(4.19e6)).map(lambda x: 10.0**x), DRAWS)
def test_a_sum_gets_one_of_its_two_codes(n: float, r: float) -> None:
    exact = 2048 * np.log1p(1024 * n) / np.log(2)
    code = encode_sum(n, r)
    assert exact - 1 - 1e-6 < code < exact + 1 + 1e-6
    # A code is worth 0.034% of n + 1/1024.
    assert abs(decode_sum(code) - n) < 3.39e-4 * (n + 1 / 1024)


@pytest.mark.parametrize("n", [1e-9, 1e-7, 3.4e-4, 0.01, 0.25, 1.0, 777.7, 4.19e6])
def test_the_error_of_a_sum_is_zero_on_average(n: float) -> None:
    """Over draws spread evenly, so that only the grid of draws is left as an error."""
    count = 4096
    found = [decode_sum(encode_sum(n, k / count)) for k in range(count)]
    assert abs(np.mean(found) - n) <= 3.39e-4 * (n + 1 / 1024) / count


def test_a_sum_beyond_the_last_code() -> None:
    last = decode_sum(HIGHEST_SUM)
    assert last == pytest.approx(4.19e6, rel=1e-3)
    assert encode_sum(last, 0.999) == HIGHEST_SUM
    for n in (np.nextafter(last, 5e6), 1e9, 1e35):
        assert encode_sum(n, 0.0) == HIGHEST_SUM + 1
