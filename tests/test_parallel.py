"""Several threads: what they come to, that it is always the same, and what they must not lose."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy import workload
from deploy.bench_learn import rows_of
from deploy.bench_rivals import learn as learn_rows
from ftrl import growth, parallel
from ftrl import learner as learner_module
from ftrl.learner import Learner
from ftrl.parallel import Team
from ftrl.settings import AdmissionSettings, LearnerSettings
from tests import learning
from tests.learning import arrays, bloom, counter, learn, of, random_rows, same_state
from tests.oracles.ftrl import BIAS, Ftrl, Row
from tests.oracles.ranges import learn_ranges

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
OFF = AdmissionSettings()
POISSON = AdmissionSettings(kind="poisson")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Ranges of a few rows, from the second example on; the bounds of all parts learned so far."""
    for name, value in (("ROWS", 7), ("CAUTION", 1), ("FEWEST", 1)):
        monkeypatch.setattr(parallel, name, value)
    monkeypatch.setattr(parallel, "COORDINATES", 400)
    monkeypatch.setattr(parallel, "LONGEST", 100)
    monkeypatch.setattr(learner_module, "ALONE", 2)
    found: list[list[int]] = []
    cut = Team._cut

    def noted(self: Team, *args: Any) -> list[int]:
        bounds = cut(self, *args)
        if bounds:
            found.append(bounds)
        return bounds

    monkeypatch.setattr(Team, "_cut", noted)
    return found


def team(threads: int, **changes: Any) -> LearnerSettings:
    """Settings of a learner with threads, whose storage does not round."""
    return of("float64", threads=threads, **changes)


def taught(oracle: Ftrl, rows: list[Row], parts: list[list[int]]) -> list[float]:
    """Teach the oracle a batch that was learned in such parts, the rest by one thread."""
    logits: list[float] = []
    begins = {bounds[0]: bounds for bounds in parts}
    while len(logits) < len(rows):
        bounds = begins.get(len(logits))
        if bounds is None:
            logits.append(oracle.learn(rows[len(logits)]))
        else:
            ranges = [rows[a:b] for a, b in itertools.pairwise(bounds)]
            logits += learn_ranges(oracle, ranges, parallel.TOGETHER)
    return logits


@pytest.mark.kernel
@pytest.mark.parametrize("threads", [2, 3])
@quick
@given(
    rows=st.one_of(learning.rows, learning.few_keys, learning.timed_rows),
    admit_after=st.integers(0, 3),
    every=st.integers(5, 40),
    l1=st.sampled_from([0, 0.1]),
    l2=st.sampled_from([0, 1]),
)
def test_each_learns_its_range_and_then_they_are_merged(
    parts: list[list[int]],
    threads: int,
    rows: list[Row],
    admit_after: int,
    every: int,
    l1: float,
    l2: float,
) -> None:
    parts.clear()
    admission = bloom(admit_after, rotate_every=every)
    if all(row.bars for row in rows if row.coordinates):
        admission = admission.model_copy(update={"thresholds": {"some": 3}})
    else:
        rows = [replace(row, bars=None) for row in rows]
    learner = Learner(team(threads, l1=l1, l2=l2), admission)
    oracle = Ftrl(l1=l1, l2=l2, counter=counter(admission))
    found = learner.learn(**arrays(rows)).logit.tolist()
    expected = taught(oracle, rows, parts)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    state = {name: np.asarray(value) for name, value in learner.state().items()}
    held = set(oracle.z) - {BIAS}
    assert state["keys"].tolist() == sorted(held)
    for name, moved in (("z", oracle.z), ("n", oracle.n)):
        expected = [moved[key] for key in sorted(held)]
        np.testing.assert_allclose(state[name], expected, rtol=1e-6, atol=1e-9)
    assert learner.bias == pytest.approx(oracle.weight(BIAS), rel=1e-6, abs=1e-9)


@pytest.mark.kernel
@pytest.mark.parametrize("admission", [OFF, POISSON, bloom(1, rotate_every=70)])
def test_always_the_same_and_a_restored_one_goes_on(
    parts: list[list[int]], admission: AdmissionSettings
) -> None:
    rows = random_rows(120, fields=6, features=300, seed=5, lists=3)
    batches = [(0, 50), (50, 53), (53, 120)]
    states, logits = [], []
    for _ in range(3):
        straight = resumed = Learner(of("float32", threads=2, l1=0.1), admission)
        for start, stop in batches:
            batch = arrays(rows[start:stop], start)
            logits.append(straight.learn(**batch).logit.tobytes())
            if straight is not resumed:
                assert resumed.learn(**batch).logit.tobytes() == logits[-1]
            resumed = Learner.restore(straight.settings, admission, straight.state())
        states.append(straight.state())
        assert same_state(resumed.state(), states[-1])
    assert len(parts) > 12
    assert logits[:3] == logits[3:6] == logits[6:]
    assert same_state(states[0], states[1])
    assert same_state(states[0], states[2])


@pytest.mark.kernel
@pytest.mark.parametrize(
    "admission", [OFF, POISSON, bloom(1, rotate_every=10**6), bloom(3, rotate_every=10**6)]
)
@pytest.mark.parametrize("threads", [2, 4])
def test_what_enters_is_what_would_with_one_thread(
    parts: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    admission: AdmissionSettings,
) -> None:
    """In all that they count too. Meanwhile the table grows, a few slots at a time."""
    monkeypatch.setattr(growth, "LEAST_MOVED", 1)
    monkeypatch.setattr(growth, "MOVED_A_FEATURE", 1)
    rows = random_rows(300, fields=8, features=600, seed=3, lists=2)
    one, some = (Learner(team(count), admission) for count in (1, threads))
    grew = 0
    for start in range(0, len(rows), 20):
        for learner in (one, some):
            learn(learner, rows[start : start + 20], first=start)
        grew += some._table.growing
    assert len(parts) > 5
    assert grew > 0 or admission.admit_after == 3
    expected, found = one.state(), some.state()
    assert one.features > 100
    assert len(some.slots) >= 256
    moved = {"bias_z", "bias_n", "z", "n", "due"}
    for name in expected.keys() - moved:
        assert np.asarray(found[name]).tobytes() == np.asarray(expected[name]).tobytes(), name


@pytest.mark.kernel
def test_whatever_changes_is_marked_as_touched(parts: list[list[int]]) -> None:
    """A copy that is given the touched slots alone stays equal."""
    rows = random_rows(200, fields=6, features=400, seed=8)
    learner = Learner(team(3), bloom(1, rotate_every=50))
    copy = np.zeros(0, learner.slots.dtype)
    for start in range(0, len(rows), 40):
        learn(learner, rows[start : start + 40], first=start)
        bits = np.unpackbits(learner.take_touched().view(np.uint8), bitorder="little")
        at = np.flatnonzero(bits)
        grown = np.zeros_like(learner.slots)
        grown[: len(copy)] = copy
        copy = grown
        copy[at] = learner.slots[at]
        assert (copy == learner.slots).all()
        assert len(at) > 0
    assert len(parts) > 8


@pytest.mark.kernel
@pytest.mark.parametrize("when_full", ["refuse", "evict"])
def test_a_full_table_stays_as_full_as_it_may_be(parts: list[list[int]], when_full: str) -> None:
    rows = random_rows(150, fields=8, features=1000, seed=4)
    learner = Learner(team(2, max_features=40, when_full=when_full), OFF)
    for start in range(0, len(rows), 50):
        learn(learner, rows[start : start + 50], first=start)
        state = learner.state()
        assert len(np.asarray(state["keys"])) == learner.features <= 40
    assert len(parts) > 5
    assert learner.features > 30
    stats = learner.stats()
    assert (stats.refused > 0, stats.evicted > 0) == (when_full == "refuse", when_full == "evict")


@pytest.mark.kernel
def test_features_not_seen_for_long_expire(parts: list[list[int]]) -> None:
    rows = random_rows(300, fields=4, features=500, seed=6)
    one, two = (Learner(team(count, expire_after=64), OFF) for count in (1, 2))
    for learner in (one, two):
        for start in range(0, len(rows), 60):
            learn(learner, rows[start : start + 60], first=start)
    assert len(parts) > 5
    assert two.evicted == pytest.approx(one.evicted, abs=5)
    assert two.features < 300


@pytest.mark.kernel
def test_rows_too_long_or_too_few_are_learned_by_one(
    parts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "FEWEST", 10)
    long = Row(tuple((key, 1.0) for key in range(1, 200)), 1)
    rows = [*random_rows(9, fields=3, features=20, seed=1), long]
    one, two = (Learner(team(count), OFF) for count in (1, 2))
    for start in range(len(rows)):
        for learner in (one, two):
            learn(learner, rows[start : start + 1], first=start)
    learn(two, [])
    assert len(parts) == 0
    assert same_state(one.state(), two.state())


def test_predictions_are_worth_the_same() -> None:
    """Even where a learning rate this high lets mere sums swing ever further."""
    chunks = list(rows_of(workload.chunks(100_000, seed=1)))
    for alpha, threads, worse in ((0.1, 2, 0.001), (0.5, 4, 0.005)):
        losses = []
        for count in (1, threads):
            learner = Learner(
                LearnerSettings(threads=count, alpha=alpha), AdmissionSettings(kind="bloom")
            )
            logit = np.concatenate([learn_rows(learner, rows) for rows in chunks])
            label = np.concatenate([rows.label for rows in chunks])
            losses.append(np.logaddexp(0, np.where(label == 1, -logit, logit)).mean())
        assert math.log(losses[1] / losses[0]) < worse


@pytest.mark.parametrize("changes", [{"layout": "q2.13"}, {"rates": "counts"}])
def test_what_does_not_add_up_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="threads = 2 needs layout float32 or float64"):
        LearnerSettings.model_validate({"threads": 2, **changes})
    LearnerSettings.model_validate({"threads": 1, **changes})
