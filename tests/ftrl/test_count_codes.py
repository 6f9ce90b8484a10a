"""Rates from counts: the formula, its codes, and what a learner that goes by them promises."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.kernels import count_codes
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.layout import LAYOUTS
from streams.errors import ConfigError
from tests.oracles.ftrl import Ftrl, Row
from tests.support import learning
from tests.support.learning import arrays, learn, of, predict, same_state
from tests.support.tiers import tries

kernel = pytest.mark.kernel  # not of those with many steps, which are slow in pure Python

quick = settings(max_examples=tries(12))
OFF = AdmissionSettings()
HIGHEST_DRAW = np.uint64(2**32 - 1)
NO_DRAW = np.uint64(0)


def by_counts(layout: str, **changes: Any) -> LearnerSettings:
    return of(layout, rates="counts", **changes)


def stored(learner: Learner, layout: str) -> dict[int, tuple[float, float]]:
    """P and N of each key."""
    state, bits = learner.state(), count_codes.BITS[layout]
    keys, n = (np.asarray(state[name]).tolist() for name in ("keys", "n"))
    return {
        key: count_codes.split(np.uint64(code), bits) for key, code in zip(keys, n, strict=True)
    }


@kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_codes(layout: str) -> None:
    """Every code is kept as it is, whatever is drawn; codes ascend, the lowest counts exactly."""
    bits = count_codes.BITS[layout]
    codes = np.unique(np.geomspace(1, 2 ** int(bits) - 1, 200).astype(np.uint64))
    values = [count_codes.decode(code, bits) for code in codes]
    for code, value in zip(codes, values, strict=True):
        assert count_codes.encode(value, bits, NO_DRAW) == code
        assert count_codes.encode(value, bits, HIGHEST_DRAW) == code
    assert values == sorted(set(values))
    assert 2**31 < values[-1] < 2**32
    for whole in range(2 ** (int(bits) - 4)) if bits < 20 else (0, 1, 2, 99_999, 2**20):
        assert (
            count_codes.decode(count_codes.encode(float(whole), bits, HIGHEST_DRAW), bits) == whole
        )
    both = np.array([2 ** (2 * int(bits)) - 1], np.uint64)
    assert both.astype(LAYOUTS[layout]["n"]).astype(np.uint64) == both


@kernel
@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.floats(0, 2.0**32 - 2**28))
def test_rounding_has_no_bias(layout: str, count: float) -> None:
    """The chance of the upper neighbour is how far the count is from the lower one."""
    bits = count_codes.BITS[layout]
    low, high = (count_codes.encode(count, bits, drawn) for drawn in (NO_DRAW, HIGHEST_DRAW))
    below, above = count_codes.decode(low, bits), count_codes.decode(low + np.uint64(1), bits)
    assert below <= count < above
    assert high - low <= 1
    share = (count - below) / (above - below)
    for drawn in (share - 1e-6, share + 1e-6):
        if 0 < drawn < 1:
            code = count_codes.encode(count, bits, np.uint64((1 - drawn) * 2**32))
            assert code == (low if drawn > share else low + np.uint64(1))


@kernel
def test_two_steps_worked_by_hand() -> None:
    """α 0.5, β 1, λ1 0: with P = 1, N = 2 a rate goes by PN / (P + N) = 2/3."""
    learner = Learner(by_counts("float64", alpha=0.5, l1=0), OFF)
    learn(learner, [Row(((7, 1.0),), 0)])
    # Nothing but negatives: the estimate is 0, and the rate α / β.
    assert learner.weights()[1].tolist() == [-0.5 * 0.5]
    learn(learner, [Row(((7, 1.0),), 1), Row(((7, 1.0),), 0)], first=1)
    assert stored(learner, "float64") == {7: (1.0, 2.0)}
    oracle = Ftrl(alpha=0.5, l1=0, counts=True)
    for label in (0, 1, 0):
        oracle.learn(Row(((7, 1.0),), label))
    assert oracle.squares(7) == pytest.approx(2 / 3)
    assert learner.weights()[1].tolist() == pytest.approx([oracle.weight(7)], rel=1e-12)


def agree(learner: Learner, rows: list[Row], oracle: Ftrl, error: float) -> None:
    found = learn(learner, rows)
    expected = [oracle.learn(row) for row in rows]
    np.testing.assert_allclose(found.logit, expected, rtol=error, atol=error)
    weights = dict(zip(*(column.tolist() for column in learner.weights()), strict=True))
    for key in np.asarray(learner.state()["keys"]).tolist():
        assert weights.get(key, 0.0) == pytest.approx(oracle.weight(key), rel=error, abs=error)
    np.testing.assert_allclose(
        predict(learner, arrays(rows)), list(map(oracle.predict, rows)), rtol=error, atol=error
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Weights, values and rates that float64's codes hold exactly; corrections of what was."""
    values = st.sampled_from([0.5, 1.0, 2.0, -3.0])
    rows: list[Row] = []
    for _ in range(draw(st.integers(0, 15))):
        pairs = draw(st.lists(st.tuples(learning.KEYS, values), max_size=4))
        weight = draw(st.sampled_from([1.0, 0.25, 8.0]))
        rate = draw(st.sampled_from([1.0, 0.5, 0.25]))
        first = Row(tuple(pairs), draw(st.integers(0, 1)), 0.5, weight, rate)
        corrected, kept = draw(st.booleans()), draw(st.booleans())
        if kept or not corrected:
            rows.append(first)
        if corrected and (first.label == 0 or not kept):
            rows.append(replace(first, label=1, correction=True, kept=kept))
    return rows


@kernel
@quick
@given(histories(), st.sampled_from([0.0, 1.0]))
def test_it_is_the_papers_formula(rows: list[Row], l1: float) -> None:
    agree(Learner(by_counts("float64", l1=l1), OFF), rows, Ftrl(l1=l1, counts=True), 1e-6)


@pytest.mark.parametrize("rate", [1.0, 0.1])
def test_it_comes_close_to_the_squared_gradients(rate: float) -> None:
    """Where a coordinate's examples are all clicked with one probability, as is supposed."""
    rng = np.random.default_rng(1)
    clicked = rng.random(6000) < 0.1
    rows = [
        Row(((5, 1.0),), int(label), math.log(1 / 9), rate=1.0 if label else rate)
        for label in clicked
        if label or rng.random() < rate
    ]
    learner = Learner(by_counts("float64", alpha=0.01), OFF)
    squared = Learner(of("float64", alpha=0.01), OFF)
    learn(learner, rows)
    learn(squared, rows)
    state = learner.state()
    spread = float(state["spread"]) / float(state["negatives"])
    assert spread == pytest.approx(1 / rate, rel=1e-12)
    bits = count_codes.BITS["float64"]
    found = count_codes.squares(np.uint64(np.asarray(state["n"])[0]), bits, spread)
    assert found == pytest.approx(float(np.asarray(squared.state()["n"])[0]), rel=0.1)


@pytest.mark.parametrize(("layout", "error"), [("float32", 0.05), ("q2.13", 0.2)])
def test_few_bits_are_right_on_average(layout: str, error: float) -> None:
    """100 coordinates that are always together, but rounded each for itself."""
    keys = tuple((key << 56 | key, 1.0) for key in range(1, 101))
    rows = [Row(keys, int(i % 8 == 0), rate=0.5 if i % 8 else 1.0) for i in range(800)]
    learner = Learner(by_counts(layout), OFF)
    learn(learner, rows)
    P, N = np.array(list(stored(learner, layout).values())).T
    for found, count in ((P, 100), (N, 1400)):
        assert found.mean() == pytest.approx(count, rel=4 * error / 10)
        assert found.std() < 1.3 * error * count
    assert N.std() > 0.5 * error * 1400
    assert len(learner.weights()[0]) == learner.stats().nonzero_weights > 90


@kernel
@pytest.mark.parametrize("layout", LAYOUTS)
@quick
@given(learning.rows, learning.cuts, st.integers(0, 60))
def test_train_save_restore_train_is_train(
    layout: str, rows: list[Row], cuts: list[int], at: int
) -> None:
    settings, at = by_counts(layout, l1=0.1), at % (len(rows) + 1)
    straight, before = Learner(settings, OFF), Learner(settings, OFF)
    expected = learn(straight, rows, cuts).logit
    head = learn(before, rows[:at]).logit
    after = Learner.restore(settings, OFF, before.state())
    tail = learn(after, rows[at:], first=at).logit
    assert np.concatenate([head, tail]).tobytes() == expected.tobytes()
    assert same_state(after.state(), straight.state())
    assert np.isfinite(expected).all()
    assert np.isfinite(straight.weights()[1]).all()


@kernel
def test_counts_end_at_the_highest() -> None:
    for layout in LAYOUTS:
        learner = Learner(by_counts(layout, l1=0), OFF)
        extremes = [(x, w, label) for x in (1e9, -1e300) for w in (1, 1e300) for label in (0, 1)]
        rows = [Row(((1, x),), label, weight=w, rate=0.1) for x, w, label in extremes]
        assert np.isfinite(learn(learner, rows).logit).all()
        assert learner.stats().saturated >= 2
        assert stored(learner, layout)[1] == pytest.approx((2**32, 2**32), rel=0.1)


@kernel
def test_a_model_goes_on_by_what_it_was_learned_by() -> None:
    rows = [Row(((1, 1.0),), 1), Row(((1, 1.0), (2, 1.0)), 0)]
    for layout in LAYOUTS:
        counted, squared = Learner(by_counts(layout), OFF), Learner(of(layout), OFF)
        learn(counted, rows)
        learn(squared, rows)
        with pytest.raises(
            ConfigError, match=r'by counts, learner.rates is gradients: set it to "c'
        ):
            Learner.restore(of(layout), OFF, counted.state())
        with pytest.raises(ConfigError, match=r"by gradients, learner.rates is counts"):
            Learner.restore(by_counts(layout), OFF, squared.state())
    floats = Learner(by_counts("float32"), OFF)
    with pytest.raises(ConfigError, match=r"codes of 12 bits, layout float64 has 25"):
        Learner.restore(by_counts("float64"), OFF, floats.state())


@kernel
def test_rounding_needs_places() -> None:
    batch = {**arrays([Row(((1, 1.0),), 1)]), "place": None}
    with pytest.raises(ValueError, match="rates by counts and kind poisson draw by the rows"):
        Learner(by_counts("float64"), OFF).learn(**batch)  # type: ignore[arg-type]
