"""The learner against the paper's algorithm, and what it promises about batches and states."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.layout import FIXED, LAYOUTS
from tests.oracles.ftrl import BIAS, Ftrl, Row
from tests.support import learning
from tests.support.learning import arrays, bloom, counter, learn, least, of, random_rows, same_state
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

quick = settings(max_examples=tries(50))
OFF = AdmissionSettings()


def exact(**changes: float | str) -> LearnerSettings:
    """Settings whose storage does not round."""
    return of("float64", **changes)


def close(found: float, expected: float, relative: float = 1e-6) -> bool:
    return math.isclose(found, expected, rel_tol=relative, abs_tol=1e-9)


def agree(learner: Learner, oracle: Ftrl, relative: float = 1e-6) -> None:
    """The learner holds the features the oracle does, with its weights."""
    state = learner.state()
    held = np.asarray(state["keys"]).tolist()
    assert set(held) == set(oracle.z) - {BIAS}
    weights = dict(zip(*(column.tolist() for column in learner.weights()), strict=True))
    for key in held:
        assert close(weights.get(key, 0.0), oracle.weight(key), relative), key
    assert close(learner.bias, oracle.weight(BIAS), relative)
    assert state["refused"] == oracle.refused


rates = st.fixed_dictionaries(
    {
        "alpha": st.floats(0.01, 2),
        "beta": st.floats(0.1, 4),
        "l1": st.sampled_from([0.0, 0.1, 1.0, 5.0]),
        "l2": st.sampled_from([0.0, 0.5, 10.0]),
    }
)


def test_two_steps_worked_by_hand() -> None:
    """α 0.5, β 1, λ1 0.25, λ2 0: every number below follows from Algorithm 1 on paper."""
    learner = Learner(exact(alpha=0.5, l1=0.25), OFF)
    clicked, ignored = Row(((7, 1.0),), 1), Row(((7, 2.0), (9, 1.0)), 0)
    first = learn(learner, [clicked])
    assert first.logit.tolist() == [0.0]
    # p = 1/2, so g = -1/2 for the feature and the bias, n = 1/4, and w = 0 leaves z = g.
    assert learner.weights()[1].tolist() == [-(-0.5 + 0.25) / ((1 + 0.5) / 0.5)]
    assert learner.bias == 0.5 / 3
    second = learn(learner, [ignored])
    assert second.logit.tolist() == [0.5 / 3 + 2 * 0.25 / 3]
    p = 1 / (1 + math.exp(-1 / 3))
    n, w = 0.25 + 4 * p * p, 0.25 / 3
    z = -0.5 + 2 * p - (math.sqrt(n) - 0.5) / 0.5 * w
    keys, weights = learner.weights()
    assert keys.tolist() == [7, 9]
    assert weights[0] == pytest.approx(-(z - 0.25) / ((1 + math.sqrt(n)) / 0.5), rel=1e-12)
    assert weights[1] == pytest.approx(-(p - 0.25) / ((1 + p) / 0.5), rel=1e-12)


@quick
@given(learning.rows, rates)
@example([Row(((5, 1.0), (5, 2.0), (5, -3.0)), 1), Row(((5, 1.0),), 0)], {"l1": 0.0})
def test_float64_is_the_papers_algorithm(rows: list[Row], rates: dict[str, float]) -> None:
    learner, oracle = Learner(exact(**rates), OFF), Ftrl(**rates)  # type: ignore[arg-type]  # names of rates only
    found = learn(learner, rows)
    for logit, row in zip(found.logit.tolist(), rows, strict=True):
        assert close(logit, oracle.learn(row))
    agree(learner, oracle)
    again = learning.predict(learner, arrays(rows))
    for logit, row in zip(again.tolist(), rows, strict=True):
        assert close(logit, oracle.predict(row))


@pytest.mark.parametrize("apart", [0, 13, 26, 40])
def test_keys_that_agree_in_some_bits_are_told_apart(apart: int) -> None:
    """Which rows may hold a key twice is asked of 13 bits, then of the next 13."""
    rng = np.random.default_rng(apart)
    alike = [5 + (5 << 13) + (5 << 26) + (number << apart) for number in range(1, 9)]
    rows = [
        Row(tuple((int(key), 1.0) for key in rng.choice(alike, 5)), int(rng.random() < 0.5))
        for _ in range(60)
    ]
    learner, oracle = Learner(exact(l1=0.1), OFF), Ftrl(l1=0.1)
    found = learn(learner, rows)
    for logit, row in zip(found.logit.tolist(), rows, strict=True):
        assert close(logit, oracle.learn(row))
    agree(learner, oracle)


@pytest.mark.parametrize("count", [0, 1, 7, 64])
def test_what_is_not_told_of_rows_is_the_usual(count: int) -> None:
    rows = random_rows(count, fields=3, features=9, seed=count)
    told = arrays(rows)
    one, other = Learner(exact(), bloom(1)), Learner(exact(), bloom(1))
    for _ in range(3):
        found = one.learn(**told)
        again = other.learn(
            told["indptr"],
            told["keys"],
            told["values"],
            label=told["label"],
            offset=told["offset"],
            weight=told["weight"],
        )
        assert again.logit.tolist() == found.logit.tolist()
    assert same_state(one.state(), other.state())


@quick
@given(learning.rows)
def test_float32_differs_by_rounding_only(rows: list[Row]) -> None:
    learner, oracle = Learner(LearnerSettings(l1=0.1), OFF), Ftrl(l1=0.1)
    found = learn(learner, rows)
    for logit, row in zip(found.logit.tolist(), rows, strict=True):
        assert logit == pytest.approx(oracle.learn(row), rel=1e-4, abs=1e-4)


@quick
@given(
    learning.timed_rows,
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
)
def test_admission_is_the_exact_counters(
    rows: list[Row],
    admit_after: int,
    generations: int,
    every: int,
    own_thresholds: bool,
    timed: bool,
) -> None:
    """By examples and by time, with one threshold or a threshold a coordinate."""
    admission = bloom(admit_after, generations, every)
    if timed:
        # So few lines that a leap of time sweeps all of them at once.
        changes = {"rotate_period": 10 * every, "memory": 0.01}
        admission = admission.model_copy(update=changes)
    if own_thresholds:
        admission = admission.model_copy(update={"thresholds": {"some": 3}})
    else:
        rows = [replace(row, thresholds=None) for row in rows]
    learner = Learner(exact(l1=0), admission)
    oracle = Ftrl(l1=0, counter=counter(admission))
    found = learn(learner, rows, [13, 20])
    for logit, row in zip(found.logit.tolist(), rows, strict=True):
        assert close(logit, oracle.learn(row))
    agree(learner, oracle)


@quick
@given(learning.few_keys, st.integers(1, 6), st.integers(0, 1))
def test_a_full_table_refuses_and_goes_on(rows: list[Row], cap: int, admit_after: int) -> None:
    admission = bloom(admit_after)
    learner = Learner(exact(max_features=cap, when_full="refuse"), admission)
    oracle = Ftrl(max_features=cap, counter=counter(admission))
    found = learn(learner, rows)
    for logit, row in zip(found.logit.tolist(), rows, strict=True):
        assert close(logit, oracle.learn(row))
    agree(learner, oracle)


def test_a_full_table_neither_grows_nor_wears_out_the_filters() -> None:
    settings = LearnerSettings(max_features=50, when_full="refuse")
    learner = Learner(settings, bloom(1, rotate_every=1000))
    rows = random_rows(200, fields=10, features=400, seed=3)
    learn(learner, rows)
    before = learner.stats()
    assert before.features_admitted == 50
    assert before.refused > 0
    for _ in range(3):
        learn(learner, rows[:100])
    after = learner.stats()
    assert after.features_admitted == 50
    assert after.nbytes == before.nbytes
    # The features over the threshold leave no further trace; only the others' first sightings do.
    assert after.filter_fill <= 2 * before.filter_fill


@pytest.mark.parametrize("layout", ["float32", "q2.13"])
@quick
@given(learning.rows, learning.cuts, learning.cuts, st.integers(0, 2))
def test_where_a_batch_is_cut_changes_nothing(
    layout: str, rows: list[Row], cuts: list[int], others: list[int], admit_after: int
) -> None:
    one, two = (Learner(of(layout), bloom(admit_after)) for _ in range(2))
    assert learn(one, rows, cuts).logit.tobytes() == learn(two, rows, others).logit.tobytes()
    assert same_state(one.state(), two.state())


@pytest.mark.parametrize("admission", [OFF, bloom(1, rotate_every=70)])
@pytest.mark.parametrize(
    ("layout", "error"), [("float32", 1e-4), ("float64", 1e-9), ("q2.13", 0.02)]
)
def test_growth_inside_a_batch_changes_nothing(
    layout: str, error: float, admission: AdmissionSettings
) -> None:
    """Hundreds of features in one batch: the table grows in the midst of it, several times."""
    rows = random_rows(150, fields=12, features=1500, seed=1, lists=30)
    settings = of(layout, l1=0.1)
    whole, single = Learner(settings, admission), Learner(settings, admission)
    logits = learn(whole, rows).logit
    assert learn(single, rows, range(len(rows))).logit.tobytes() == logits.tobytes()
    assert same_state(whole.state(), single.state())
    assert whole.features > 200
    oracle = Ftrl(l1=0.1)
    if admission.kind == "bloom":
        oracle.counter = counter(admission)
    expected = np.array([oracle.learn(row) for row in rows])
    np.testing.assert_allclose(logits, expected, rtol=error, atol=error)
    held = set(oracle.z) - {BIAS}
    held = {least(key) for key in held} if layout == FIXED else held
    assert set(np.asarray(whole.state()["keys"]).tolist()) == held


@pytest.mark.parametrize("kept", [True, False])
def test_a_correction_worked_by_hand(kept: bool) -> None:
    """α 0.5, β 1, λ1 0, r 0.5; the first label is learned from only if it was kept."""
    learner = Learner(exact(alpha=0.5, l1=0), OFF)
    z, n, w, bias = 0.0, 0.0, 0.0, 0.0
    if kept:
        learn(learner, [Row(((5, 2.0),), 0, rate=0.5)])
        z, n = 2.0, 4.0  # p = 1/2 and ω = 1/0.5, so g = 2·(1/2)·2
        w, bias = -2 * 0.5 / (1 + 2), -1 * 0.5 / (1 + 1)
    learn(learner, [Row(((5, 2.0),), 1, rate=0.5, correction=True, kept=kept)])
    p = 1 / (1 + math.exp(-(bias + 2 * w)))
    own = (p - 1) * 2
    g = own - p / 0.5 * 2 if kept else own
    state = learner.state()
    assert np.asarray(state["n"])[0] == pytest.approx(n + own * own)
    sigma = (math.sqrt(n + own * own) - math.sqrt(n)) / 0.5
    assert np.asarray(state["z"])[0] == pytest.approx(z + g - sigma * w)
    assert state["examples"] == 1


def test_a_correction_of_a_trained_row_admits_nothing() -> None:
    learner = Learner(LearnerSettings(), OFF)
    learn(learner, [Row(((5, 1.0),), 1, correction=True, kept=True)])
    assert learner.features == 0
    learn(learner, [Row(((5, 1.0),), 1, correction=True, kept=False)])
    assert learner.features == 1


@pytest.mark.parametrize("alpha", [0.1, 1000])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_extremes_stay_finite(layout: str, alpha: float) -> None:
    """Logits of ±700 and more, and inputs nobody can mean, never become NaN or infinite."""
    extremes = [0.0, 1e-300, 1e-20, 700.0, 1e9, 1e15, 1e307]
    rows = [
        Row(((1, x), (2, -x), (3, 1.0)), label, offset=offset, weight=weight, rate=rate)
        for x in extremes
        for label in (0, 1)
        for offset in (-700.0, 0.0, 700.0, 1e300)
        for weight in (1e-300, 1.0, 1e300)
        for rate in (1.0, 1e-6)
    ]
    rows += [
        Row(row.coordinates, 1, row.offset, row.weight, row.rate, correction=True) for row in rows
    ]
    learner = Learner(of(layout, alpha=alpha, l1=0), OFF)
    found = learn(learner, rows)
    assert np.isfinite(found.logit).all()
    assert np.isfinite(learner.weights()[1]).all()
    assert math.isfinite(learner.bias)
    state = learner.state()
    assert np.isfinite(state["z"]).all()
    assert np.isfinite(state["n"]).all()


def test_a_confident_mistake_is_unlearned() -> None:
    learner = Learner(LearnerSettings(), OFF)
    for label, sign in ((1, 1), (0, -1)):
        found = learn(learner, [Row(((1, 1.0),), label, offset=-700.0 * sign)] * 50)
        assert (np.diff(found.logit) * sign > 0).all()


@quick
@given(learning.rows)
def test_the_prediction_comes_before_the_update(rows: list[Row]) -> None:
    """The logit is, bit for bit, that of the weights just before, new features and all."""
    learner = Learner(LearnerSettings(l1=0.1), OFF)
    for row in rows:
        before = learning.predict(learner, arrays([row]))
        assert learn(learner, [row]).logit.tobytes() == before.tobytes()


def test_no_rows_and_rows_without_coordinates() -> None:
    learner = Learner(LearnerSettings(), OFF)
    assert learn(learner, []).logit.tolist() == []
    assert learn(learner, [Row((), 1), Row((), 1)]).logit[1] > 0
    assert learner.features == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_poisson_inclusion_depends_on_place_and_seed_alone(layout: str) -> None:
    rows = random_rows(80, fields=5, features=60, seed=5)
    admission = AdmissionSettings(kind="poisson", probability=0.2)
    one, two, other = (Learner(of(layout, seed=seed), admission) for seed in (0, 0, 1))
    learn(one, rows, [7, 30])
    learn(two, rows)
    learn(other, rows)
    assert same_state(one.state(), two.state())
    assert 0 < one.features < one.stats().features_seen
    assert not same_state(one.state(), other.state())
    elsewhere = Learner(of(layout), admission)
    learn(elsewhere, rows, first=1000)
    assert not same_state(one.state(), elsewhere.state())
    batch: dict[str, Any] = {**arrays(rows), "place": None}
    with pytest.raises(ValueError, match="kind poisson"):
        one.learn(**batch)


def test_what_admission_needs_must_be_given() -> None:
    batch: dict[str, Any] = {**arrays([Row(((1, 1.0), (2, 1.0)))])}
    timed = Learner(LearnerSettings(), bloom(1).model_copy(update={"rotate_period": 1000}))
    with pytest.raises(ValueError, match="event times: give them"):
        timed.learn(**{**batch, "ts": None})
    with pytest.raises(ValueError, match="1 thresholds for 2 keys"):
        timed.learn(**{**batch, "thresholds": np.ones(1, np.uint8)})
    with pytest.raises(ValueError, match="ts of row 0 is -1"):
        timed.learn(**{**batch, "ts": np.array([-1])})
    assert timed.stats().examples == 0


def test_stats_count_what_is_there() -> None:
    learner = Learner(LearnerSettings(l1=0.6), OFF)
    learn(learner, [Row(((1, 1.0), (2, 2.0)), 1), Row(((3, 0.5),), 1)])
    stats = learner.stats()
    # |z| is 1/2, 1 and less than 1/4: one of them is beyond λ1.
    assert (stats.examples, stats.features_admitted, stats.nonzero_weights) == (2, 3, 1)
    assert stats.features_seen == 3
    assert len(learner.weights()[0]) == 1
    assert stats.nbytes > 0
