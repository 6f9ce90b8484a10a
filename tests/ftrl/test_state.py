"""Saving a learner changes nothing, and one that is restored goes on as if nothing had been."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.stats import LearnerStats
from ftrl.table.layout import LAYOUTS
from streams.errors import ConfigError, DataError
from tests.oracles.ftrl import Row
from tests.support import learning
from tests.support.learning import bloom, learn, of, random_rows, same_state
from tests.support.tiers import tries

kernel = pytest.mark.kernel  # not of those in which features leave, slow in pure Python

quick = settings(max_examples=tries(50))
OFF = AdmissionSettings()
POISSON = AdmissionSettings(kind="poisson", probability=0.4)
TIMED = bloom(1).model_copy(update={"rotate_period": 7, "thresholds": {"some": 2}})


def check_that_resumed_is_straight(
    settings: LearnerSettings, admission: AdmissionSettings, rows: list[Row], cuts: list[int]
) -> LearnerStats:
    """Train on `rows`, and on their parts with a restored learner for each; the model's stats."""
    straight = Learner(settings, admission)
    expected = learn(straight, rows).logit
    resumed = Learner(settings, admission)
    edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    found = []
    for start, end in itertools.pairwise(edges):
        found.append(learn(resumed, rows[start:end], first=start).logit)
        resumed = Learner.restore(settings, admission, resumed.state())
    assert np.concatenate(found).tobytes() == expected.tobytes()
    assert same_state(resumed.state(), straight.state())
    return straight.stats()


@pytest.mark.parametrize("layout", LAYOUTS)
@quick
@given(
    learning.any_rows,
    learning.cuts,
    st.sampled_from([bloom(0), bloom(1), bloom(2), POISSON, TIMED]),
    st.sampled_from([0, 9]),
    st.sampled_from([4, 10_000]),
    st.sampled_from(["gradients", "counts"]),
)
def test_train_save_restore_train_is_train(
    layout: str,
    rows: list[Row],
    cuts: list[int],
    admission: AdmissionSettings,
    expire_after: int,
    most: int,
    rates: str,
) -> None:
    settings = of(layout, l1=0.1, expire_after=expire_after, max_features=most, rates=rates)
    check_that_resumed_is_straight(settings, admission, rows, cuts)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("admission", [TIMED, POISSON], ids=["timed", "poisson"])
def test_what_has_left_and_turned_is_restored(layout: str, admission: AdmissionSettings) -> None:
    """Event times that move, thresholds, a table that is full, and features that go stale."""
    rng = np.random.default_rng(8)
    rows = [
        replace(
            row,
            ts=2 * number + int(rng.integers(0, 4)),
            thresholds=tuple(rng.integers(0, 4, len(row.coordinates)).tolist()),
        )
        for number, row in enumerate(random_rows(150, fields=4, features=200, seed=6))
    ]
    settings = of(layout, l1=0.1, expire_after=40, max_features=20, rates="counts")
    cuts = [3, 50, 51, 90, 91, 92, 140]
    stats = check_that_resumed_is_straight(settings, admission, rows, cuts)
    assert stats.evicted > 15
    assert stats.features_admitted <= 20


@kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_saving_changes_nothing_and_the_copy_stays(layout: str) -> None:
    rows = random_rows(60, fields=5, features=100, seed=2)
    learner, admission = Learner(of(layout), bloom(1)), bloom(1)
    learn(learner, rows[:30])
    saved = learner.state()
    frozen = {name: np.array(value) for name, value in saved.items()}
    learn(learner, rows[30:], first=30)
    assert same_state(saved, frozen)
    straight = Learner(of(layout), admission)
    learn(straight, rows)
    assert same_state(straight.state(), learner.state())


@kernel
def test_restore_takes_other_settings_where_it_can() -> None:
    learner = Learner(LearnerSettings(l1=0), bloom(1))
    learn(learner, random_rows(80, fields=5, features=100, seed=4))
    state = learner.state()
    wider = Learner.restore(LearnerSettings(l1=0, layout="float64"), OFF, state)
    assert wider.weights()[0].tolist() == learner.weights()[0].tolist()
    assert wider.weights()[1].tolist() == learner.weights()[1].tolist()
    assert (
        Learner.restore(LearnerSettings(), bloom(1, generations=3), state).stats().filter_fill == 0
    )


@kernel
def test_restore_refuses_what_it_cannot_hold_or_read() -> None:
    learner = Learner(LearnerSettings(), OFF)
    learn(learner, [Row(((1, 1.0), (2, 1.0), (3, 1.0)))])
    with pytest.raises(ConfigError, match=r"3 features.*max_features.*2.*set it to 3"):
        Learner.restore(LearnerSettings(max_features=2), OFF, learner.state())
    with pytest.raises(ConfigError, match=r"are in floating point, learner\.layout is q2\.13"):
        Learner.restore(of("q2.13"), OFF, learner.state())
    with pytest.raises(ConfigError, match=r"are in fixed point, learner\.layout is float32"):
        Learner.restore(LearnerSettings(), OFF, Learner(of("q2.13"), OFF).state())
    with pytest.raises(DataError, match="format 99"):
        Learner.restore(LearnerSettings(), OFF, {**learner.state(), "format": 99})
