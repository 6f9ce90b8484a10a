"""A served model is its learner, to within the rounding of 16 bits."""

import numpy as np
import pytest
from hypothesis import assume, given, settings

from ftrl.learner import Learner
from ftrl.serving.table import ServingTable, ServingWeights, serving_weights
from ftrl.settings import AdmissionSettings, LearnerSettings
from tests.oracles.ftrl import Row
from tests.support import learning
from tests.support.learning import arrays, dequantize, learn, random_rows
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

quick = settings(max_examples=tries(50))
STEP = 2.0**-13
NO_VALUES = np.empty(0)


def published(learner: Learner) -> ServingWeights:
    """The learner's weights as a version publishes them."""
    return serving_weights(*learner.weights(), seed=learner.settings.seed, variant=1)


def assert_within_rounding(learner: Learner, rows: list[Row]) -> None:
    """|served - learned| is at most Σ|x| 2⁻¹³ in each row's logit, where no weight saturates."""
    weights = published(learner)
    assert not weights.saturated
    served = ServingTable(weights.keys, weights.q, learner.bias)
    a = arrays(rows)
    coordinates = (a["indptr"], a["keys"], a["values"], a["offset"])
    difference = served.logit(*coordinates) - learning.predict(learner, a)
    for found, row in zip(difference.tolist(), rows, strict=True):
        bound = sum(abs(value) for _, value in row.coordinates) * STEP
        assert abs(found) <= bound + 1e-9


@quick
@given(learning.rows, learning.rows)
def test_scores_are_the_learners(taught: list[Row], asked: list[Row]) -> None:
    learner = Learner(LearnerSettings(l1=0.05), AdmissionSettings())
    learn(learner, taught)
    assume(not published(learner).saturated)
    assert_within_rounding(learner, taught)
    assert_within_rounding(learner, asked)


def test_scores_of_a_larger_model() -> None:
    learner = Learner(LearnerSettings(l1=0.3, alpha=0.5), AdmissionSettings())
    rows = random_rows(400, fields=8, features=2000, seed=6)
    learn(learner, rows)
    assert learner.stats().nonzero_weights > 100
    assert_within_rounding(learner, rows)


def test_only_weights_that_round_to_something_are_served() -> None:
    keys = np.array([3, 5, 9], np.uint64)
    weights = np.array([0.1 * STEP, -1.5, STEP / 2])
    rounded = [serving_weights(keys, weights, seed=1, variant=v) for v in range(60)]
    for version in rounded:
        assert (version.q != 0).all()
        assert 5 in version.keys
        assert set(dequantize(version.q).tolist()) <= {-1.5, STEP}
    halves = sum(9 in version.keys for version in rounded)
    assert 15 < halves < 45  # of 60 throws of a coin
    assert sum(3 in version.keys for version in rounded) < halves


def test_saturated_weights_are_counted() -> None:
    keys = np.array([3, 5], np.uint64)
    found = serving_weights(keys, np.array([4.5, -9.0]), seed=0, variant=0)
    assert found.saturated == 2
    assert dequantize(found.q).tolist() == [4 - STEP, -4]


def test_a_table_answers_for_exactly_its_keys() -> None:
    """Keys that share homes and wrap around the end, beside others that are not there."""
    keys = np.array([1, 2, 3, 2**63, 2**64 - 2, 2**64 - 1], np.uint64)
    q = np.array([1, 2, 4, 8, 16, 32767], np.int16)
    table = ServingTable(keys, q, bias=0.5)
    asked = np.array([*keys.tolist(), 4, 2**63 + 1, 2**64 - 3], np.uint64)
    logits = table.logit(np.arange(10), asked, NO_VALUES, np.full(9, 0.25))
    expected = np.array([*q.tolist(), 0, 0, 0]) * STEP + 0.75
    assert logits.tolist() == expected.tolist()


def test_repeats_and_values_add_up() -> None:
    table = ServingTable(np.array([7], np.uint64), np.array([8192], np.int16), bias=0.0)
    keys = np.array([7, 7, 8], np.uint64)
    indptr = np.array([0, 3, 3])
    assert table.logit(indptr, keys, NO_VALUES, np.zeros(2)).tolist() == [2.0, 0.0]
    assert table.logit(indptr, keys, np.array([0.5, -3.0, 9.0]), np.zeros(2)).tolist() == [-2.5, 0]


def test_a_model_without_weights_serves_its_bias() -> None:
    table = ServingTable(np.empty(0, np.uint64), np.empty(0, np.int16), bias=-1.25)
    found = table.logit(np.array([0, 1]), np.array([9], np.uint64), NO_VALUES, np.zeros(1))
    assert found.tolist() == [-1.25]
    assert table.nbytes > 0


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="1 keys but 2 weights"):
        ServingTable(np.ones(1, np.uint64), np.ones(2, np.int16), 0.0)
    with pytest.raises(ValueError, match="key is 0"):
        ServingTable(np.zeros(1, np.uint64), np.ones(1, np.int16), 0.0)
    table = ServingTable(np.ones(1, np.uint64), np.ones(1, np.int16), 0.0)
    with pytest.raises(ValueError, match="2 rows need 3"):
        table.logit(np.array([0, 1]), np.ones(1, np.uint64), NO_VALUES, np.zeros(2))
