"""q2.13, and the code of sums: close, without bias, saturating, the same wherever computed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.table.fixedpoint import HIGHEST_SUM, decode_sum, encode_sum, quantize
from ftrl.table.rng import SERVING, STORED, rng_context, uniform, uniform_draws
from streams.compute.arrays import F64
from tests.support.learning import dequantize
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

quick = settings(max_examples=tries(80))


def decoded(code: int) -> float:
    return float(decode_sum(np.uint64(code)))


def encoded(n: float, drawn: int) -> int:
    """drawn: 32 bits."""
    return int(encode_sum(np.float64(n), np.uint64(drawn)))


STEP = 2.0**-13


def rounded(values: F64, seed: int = 0, variant: int = 0, first: int = 0) -> F64:
    keys = np.arange(first, first + len(values), dtype=np.uint64)
    return dequantize(quantize(values, keys, seed=seed, purpose=SERVING, variant=variant).q)


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
    found = quantize(values, np.arange(7, dtype=np.uint64), seed=1, purpose=SERVING, variant=0)
    assert found.q.tolist() == [-32768, -32768, -32768, 0, 32767, 32767, 32767]
    assert found.saturated == 4


def test_the_same_value_rounds_the_same_in_any_company() -> None:
    values = np.random.default_rng(1).normal(0, 1, 200)
    keys = np.random.default_rng(2).integers(1, 2**64, 200, dtype=np.uint64)
    order = np.random.default_rng(3).permutation(200)
    whole = quantize(values, keys, seed=5, purpose=SERVING, variant=7).q
    shuffled = quantize(values[order], keys[order], seed=5, purpose=SERVING, variant=7).q
    assert (whole[order] == shuffled).all()
    assert whole[3] == quantize(values[3:4], keys[3:4], seed=5, purpose=SERVING, variant=7).q[0]


@pytest.mark.parametrize("changes", [{"seed": 6}, {"purpose": 1}, {"variant": 8}])
def test_each_part_of_the_context_changes_the_draws(changes: dict[str, int]) -> None:
    values, keys = np.full(1000, 0.5 * STEP), np.arange(1, 1001, dtype=np.uint64)
    before = {"seed": 5, "purpose": SERVING, "variant": 7}
    one = quantize(values, keys, **before).q
    other = quantize(values, keys, **(before | changes)).q
    assert 400 < (one != other).sum() < 600


def context_of(seed: int, purpose: int, variant: int) -> np.uint64:
    return np.uint64(rng_context(np.uint64(seed), np.uint64(purpose), np.uint64(variant)))


def of_weights(count: int) -> F64:
    context = context_of(0, SERVING, 0)
    return np.array([uniform(context, np.uint64(i)) for i in range(count)])


def of_states(count: int, which: int) -> F64:
    """The first (as a share of 2³²) or second of the draws for a stored coordinate."""
    context = context_of(0, STORED, 0)
    pairs = np.array([uniform_draws(context, np.uint64(i)) for i in range(count)], np.float64)
    return pairs[:, which] * (2.0**-32 if which == 0 else 1.0)


@pytest.mark.parametrize(
    "draw", [of_weights, partial(of_states, which=0), partial(of_states, which=1)]
)
def test_draws_are_uniform_and_unrelated(draw: Callable[[int], F64]) -> None:
    count = 20_000
    drawn = draw(count)
    assert 0 <= drawn.min() < drawn.max() < 1
    tenths = np.histogram(drawn, 10, (0, 1))[0]
    # χ² with 9 degrees of freedom is below 33.7 with probability 0.9999.
    assert ((tenths - count / 10) ** 2 / (count / 10)).sum() < 33.7
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 5 / count**0.5


def test_golden_draws() -> None:
    """Published versions depend on these: they must never change."""
    words = [((0, 0, 0), 1), ((0, 0, 0), 2**64 - 1), ((7, 1, 3), 0xA9809ED47B222971)]
    found = [int(uniform(context_of(*of), np.uint64(key)) * 2**32) for of, key in words]
    assert found == [2186843491, 172181484, 1350730794]


DRAWS = st.integers(0, 2**32 - 1)
CODES = st.one_of(st.integers(0, 50), st.integers(0, 65535), st.integers(65500, 65535))


@quick
@given(CODES, DRAWS)
def test_a_sum_that_has_a_code_keeps_it(code: int, r: int) -> None:
    n = decoded(code)
    octave, part = divmod(code, 2048)
    assert n == (2**octave * (1 + part / 2048) - 1) / 1024
    assert encoded(n, r) == code


def test_sums_ascend_with_their_codes() -> None:
    sums = [decoded(code) for code in range(65536)]
    assert sums[0] == 0
    assert (np.diff(sums) > 0).all()


@quick
@given(st.floats(0, 5e6), st.floats(0, 5e6), DRAWS)
def test_codes_ascend_with_their_sums(a: float, b: float, r: int) -> None:
    """Under the same draw."""
    assert encoded(min(a, b), r) <= encoded(max(a, b), r)


@quick
@given(st.floats(-25, np.log10(4.19e6)).map(lambda x: 10.0**x), DRAWS)
def test_a_sum_gets_one_of_its_two_codes(n: float, r: int) -> None:
    code = encoded(n, r)
    assert decoded(max(code - 1, 0)) <= n < decoded(code + 1)
    # A code is worth up to 0.049% of n + 1/1024.
    assert abs(decoded(code) - n) < 4.89e-4 * (n + 1 / 1024)


@pytest.mark.parametrize("n", [1e-9, 1e-7, 3.4e-4, 0.01, 0.25, 1.0, 777.7, 4.19e6])
def test_the_error_of_a_sum_is_zero_on_average(n: float) -> None:
    """Over draws spread evenly, so that only the grid of draws is left as an error."""
    count = 4096
    found = [decoded(encoded(n, k * 2**32 // count)) for k in range(count)]
    assert abs(np.mean(found) - n) <= 4.89e-4 * (n + 1 / 1024) / count


def test_a_sum_beyond_the_last_code() -> None:
    last = decoded(int(HIGHEST_SUM))
    assert last == pytest.approx(4.19e6, rel=1e-3)
    assert encoded(last, 2**32 - 1) == HIGHEST_SUM
    for n in (4.195e6, 1e9, 1e35):
        assert encoded(n, 0) > HIGHEST_SUM
