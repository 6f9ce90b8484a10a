"""Training in q2.13: each step is the algorithm's but for rounding, which has no bias."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.layout import LAYOUTS
from tests.oracles.ftrl import BIAS, Ftrl, Row
from tests.support import learning
from tests.support.learning import (
    arrays,
    by_least,
    learn,
    least,
    of,
    predict,
    random_rows,
    same_state,
)
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

quick = settings(max_examples=tries(50))
OFF = AdmissionSettings()
Codes = dict[int, tuple[int, int]]


def codes(learner: Learner) -> Codes:
    """(η·z, n) as stored, by key."""
    state = learner.state()
    columns = (np.asarray(state[name]) for name in ("keys", "z", "n"))
    return {key: (z, n) for key, z, n in zip(*(c.tolist() for c in columns), strict=True)}


def meaning(z: int, n: int, alpha: float = 0.1, beta: float = 1.0) -> tuple[float, float]:
    """z and n of their codes, from the definition."""
    octave, part = divmod(n, 2048)
    total = (2**octave * (1 + part / 2048) - 1) / 1024
    return z / 8192 * (beta + math.sqrt(total)) / alpha, total


def oracle_at(learner: Learner, l1: float) -> Ftrl:
    """The paper's algorithm in the state that `learner` is in."""
    oracle = Ftrl(l1=l1)
    for key, (z, n) in codes(learner).items():
        oracle.z[key], oracle.n[key] = meaning(z, n)
    state = learner.state()
    oracle.z[BIAS], oracle.n[BIAS] = float(state["bias_z"]), float(state["bias_n"])
    return oracle


def test_a_slot_takes_8_bytes() -> None:
    assert LAYOUTS["q2.13"].itemsize == 8
    assert Learner(of("q2.13", memory=3), OFF).slots.nbytes == 3 * 2**20


@quick
@given(learning.few_keys, st.sampled_from([0.0, 0.1, 1.0]))
def test_each_step_is_the_algorithms_and_rounded(rows: list[Row], l1: float) -> None:
    learner = Learner(of("q2.13", l1=l1), OFF)
    for place, row in enumerate(map(by_least, rows)):
        oracle = oracle_at(learner, l1)
        before = learner.state()["saturated"]
        logit = learn(learner, [row], first=place).logit[0]
        assert logit == pytest.approx(oracle.learn(row), rel=1e-9, abs=1e-9)
        found = codes(learner)
        assert set(found) == set(oracle.z) - {BIAS}
        if learner.state()["saturated"] != before:
            continue
        for key, (z, n) in found.items():
            # A step may add 0.049% to n, and 2^-13 to the exact z times the rounded n's rate.
            total = meaning(z, n)[1]
            assert abs(total - oracle.n[key]) < 4.89e-4 * (oracle.n[key] + 1 / 1024)
            scaled = 0.1 / (1 + math.sqrt(total)) * oracle.z[key] * 8192
            assert abs(z - scaled) < 1 + 1e-6


@pytest.mark.parametrize("value", [1.1, -0.37, 0.01])
def test_a_step_has_no_bias(value: float) -> None:
    """Many keys take the same step: on average they end where the algorithm does."""
    count = 4000
    oracle = Ftrl(l1=0.2)
    learner = Learner(of("q2.13", l1=0.2), OFF)
    keys = np.random.default_rng(5).integers(1, 2**64, count, dtype=np.uint64)
    learn(learner, [Row(tuple((key, value) for key in keys.tolist()), 1)])
    oracle.learn(Row(((1, value),), 1))
    z, n = np.array([meaning(*pair) for pair in codes(learner).values()]).T
    for found, exact in ((z, oracle.z[1]), (n, oracle.n[1])):
        assert len(set(found.tolist())) > 1
        assert abs(found.mean() - exact) < 5 * found.std() / count**0.5


def test_z_is_stored_at_the_rate_of_the_rounded_n() -> None:
    """η·z is 3.75 here: at the rate of the exact n many codes would be off by more than one."""
    learner = Learner(of("q2.13", l1=0.0, alpha=5), OFF)
    learn(learner, [Row(tuple((key, 6.0) for key in range(1, 401)), 1)])
    for z, n in codes(learner).values():
        rate = 5 / (1 + math.sqrt(meaning(0, n)[1]))
        assert abs(z - rate * -3 * 8192) < 1


def test_a_stream_ends_near_the_exact_one() -> None:
    rows = random_rows(1500, fields=6, features=300, seed=7)
    exact, rounded = (Learner(of(layout, l1=0.1), OFF) for layout in ("float64", "q2.13"))
    difference = learn(exact, rows).logit - learn(rounded, rows).logit
    oracle = Ftrl(l1=0.1)
    for row in rows:
        oracle.learn(row)
    assert 0 < np.abs(difference).mean() < 0.003
    assert np.abs(difference).max() < 0.03
    assert abs(difference.mean()) < 0.001
    held = dict(zip(*(column.tolist() for column in rounded.weights()), strict=True))
    for key in set(oracle.z) - {BIAS}:
        assert held.get(least(key), 0.0) == pytest.approx(oracle.weight(key), abs=0.01)
    assert rounded.stats().saturated == 0


def test_a_weight_is_zero_where_the_stored_z_is_within_l1() -> None:
    """`weights`, `stats` and predictions agree on which those are."""
    learner = Learner(of("q2.13", l1=0.5), OFF)
    learn(learner, random_rows(400, fields=6, features=300, seed=8))
    weights = dict(zip(*(column.tolist() for column in learner.weights()), strict=True))
    found = codes(learner)
    within = {key for key, pair in found.items() if abs(meaning(*pair)[0]) <= 0.5}
    assert 20 < len(within) < len(found) - 20
    assert set(weights) == set(found) - within
    assert learner.stats().nonzero_weights == len(weights)
    asked = arrays([Row(((key, 1.0),)) for key in found])
    logits = predict(learner, asked)
    expected = [learner.bias + weights.get(key, 0.0) for key in found]
    np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-15)


def test_what_is_not_moved_stays() -> None:
    """Rounding alone changes nothing: weight 0 leaves every coordinate as it is stored."""
    learner = Learner(of("q2.13", l1=0.1), OFF)
    rows = random_rows(100, fields=6, features=50, seed=9)
    learn(learner, rows)
    idle = [Row(row.coordinates, row.label, weight=0.0) for row in rows]
    before = codes(learner)
    learn(learner, idle, first=1000)
    assert codes(learner) == before
    fresh = Learner(of("q2.13"), OFF)
    learn(fresh, idle)
    assert set(codes(fresh).values()) == {(0, 0)}


def test_saturations_are_counted_and_saved() -> None:
    learner = Learner(of("q2.13", l1=0.0, alpha=50), OFF)
    learn(learner, [Row(((1, 1.0), (2, 1.0)), 1)])
    # η·z = 50 / (1 + 1/2) · (-1/2) for both.
    assert {z for z, _ in codes(learner).values()} == {-32768}
    assert learner.stats().saturated == 2
    restored = Learner.restore(learner.settings, OFF, learner.state())
    assert restored.stats().saturated == 2
    assert same_state(restored.state(), learner.state())
    wide = Learner(of("q2.13"), OFF)
    learn(wide, [Row(((1, 1e5),), 0)])
    assert codes(wide)[1][1] == 65535
    assert wide.stats().saturated == 1
    assert Learner(LearnerSettings(), OFF).stats().saturated == 0


@pytest.mark.parametrize("change", ["seed", "place", "kind"])
def test_each_circumstance_rounds_in_its_own_way(change: str) -> None:
    row = Row(tuple((key, 1.1) for key in range(1, 401)), 1)  # of 1.0, n would be exact
    one = Learner(of("q2.13"), OFF)
    learn(one, [row])
    other = Learner(of("q2.13", seed=int(change == "seed")), OFF)
    if change == "kind":
        row = Row(row.coordinates, 1, correction=True, kept=False)
    learn(other, [row], first=int(change == "place"))
    for of_one, of_other in zip(
        zip(*codes(one).values(), strict=True),
        zip(*codes(other).values(), strict=True),
        strict=True,
    ):
        assert len(set(of_one)) == 2
        assert of_one != of_other
    again = Learner(of("q2.13"), OFF)
    learn(again, [Row(row.coordinates, 1)])
    assert same_state(one.state(), again.state())


def test_z_and_n_of_a_coordinate_round_independently() -> None:
    learner = Learner(of("q2.13"), OFF)
    learn(learner, [Row(tuple((key, 1.1) for key in range(1, 2001)), 1)])
    n = np.array([pair[1] for pair in codes(learner).values()])
    z = np.array([pair[0] for pair in codes(learner).values()])
    # η falls with n's code by far less than one unit of η·z, so all that is left is chance.
    assert abs(np.corrcoef(z, n)[0, 1]) < 0.2


def test_rows_without_places_are_refused() -> None:
    given_ = {k: v for k, v in arrays([Row(((1, 1.0),))]).items() if k != "place"}
    with pytest.raises(ValueError, match="give them"):
        Learner(of("q2.13"), OFF).learn(**given_)  # type: ignore[arg-type]  # as arrays has them
    Learner(of("float32"), OFF).learn(**given_)  # type: ignore[arg-type]  # as arrays has them


def test_rates_under_which_no_feature_gets_a_weight_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"alpha . l1 / beta = 5 no new feature"):
        LearnerSettings(layout="q2.13", alpha=10, l1=0.5)
    LearnerSettings(layout="float32", alpha=10, l1=0.5)
