"""The rolling counting Bloom filters against exact counts: never late, seldom early."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.admission import admission
from ftrl.admission.admission import Admission
from ftrl.admission.bloom import line_of
from ftrl.admission.generations import start_example
from ftrl.settings import MAX_ADMIT_AFTER, AdmissionSettings
from streams.compute.arrays import U64
from tests.support.learning import counter
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

quick = settings(max_examples=tries(40))


LINE = 64 / 2**20  # MiB


def bloom(
    admit_after: int, lines: int, generations: int = 2, rotate_every: int = 2**40
) -> AdmissionSettings:
    """Filters of so many lines a generation (and as many of the control, if it is one)."""
    return AdmissionSettings(
        kind="bloom",
        admit_after=admit_after,
        memory=-(-lines * 33 // 32) * LINE * generations,
        generations=generations,
        rotate_every=rotate_every,
    )


NO_THRESHOLDS = np.empty(0, np.uint8)


class Filters:
    """Filters in use: what has been admitted, and at which example."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self.held = Admission(settings)
        self.entered: dict[int, int] = {}
        self.examples = 0

    def example(self, features: Sequence[int], ts: int = 0) -> None:
        """Sight the features of one example, each once."""
        filters = self.held.filters()
        start_example(filters, self.examples, ts)
        absent = np.array([f for f in features if f not in self.entered], np.uint64)
        chosen = np.arange(len(absent))
        totals = np.empty(len(absent), np.int64)
        context = np.uint64(
            admission.admission_context(filters.rules, np.uint64(0), self.examples, 0)
        )
        candidates = admission.Candidates(absent, chosen, totals, len(absent))
        row = admission.RowThresholds(NO_THRESHOLDS, absent, 0)
        size = admission.admit(filters, context, candidates, row)
        for feature in absent[chosen[:size]].tolist():
            self.entered[feature] = self.examples
        self.examples += 1

    def remembered(self, feature: int) -> int:
        """How often the filters believe to have seen a feature."""
        key, rules = np.uint64(feature), self.held.rules
        line = line_of(rules.lines, key)
        return int(admission.remembered(self.held.words, rules.generations, line, key))


def compare(rows: Sequence[Sequence[int]], settings: AdmissionSettings) -> tuple[Filters, set[int]]:
    """Run filters and exact counter side by side; which features entered early."""
    held = Filters(settings)
    exact = counter(settings)
    entered: dict[int, int] = {}
    for number, row in enumerate(rows):
        held.example(row)
        exact.start_example()
        for feature in row:
            if feature not in entered and exact.admits(feature):
                entered[feature] = number
        for feature in row:
            if feature not in held.entered:
                seen = min(exact.remembered(feature), MAX_ADMIT_AFTER)
                assert held.remembered(feature) >= seen, "counted too few"
    for feature, number in entered.items():
        assert held.entered[feature] <= number, "entered late"
    return held, {f for f, n in held.entered.items() if entered.get(f, n + 1) > n}


def distinct(count: int, seed: int) -> U64:
    return np.random.default_rng(seed).integers(1, 2**64, count, dtype=np.uint64)


features = st.one_of(st.integers(1, 30), st.integers(1, 2**64 - 1))
examples = st.lists(st.sets(features, max_size=6).map(sorted), max_size=60)


@quick
@given(examples, st.integers(0, 15), st.integers(1, 4), st.integers(1, 20))
def test_a_cramped_filter_is_never_late(
    rows: list[list[int]], admit_after: int, generations: int, rotate_every: int
) -> None:
    """All features share one line of 128 counters, and still none waits too long."""
    compare(rows, bloom(admit_after, 1, generations, rotate_every))


@pytest.mark.parametrize("admit_after", [1, 2, 5, 15])
@pytest.mark.parametrize("rotate_every", [100, 10_000])
def test_a_roomy_filter_is_exact(admit_after: int, rotate_every: int) -> None:
    rng = np.random.default_rng(admit_after)
    names = distinct(200, seed=1).tolist()
    rows = [sorted({names[int(200 ** rng.random()) - 1] for _ in range(5)}) for _ in range(400)]
    held, early = compare(rows, bloom(admit_after, 5000, 2, rotate_every))
    assert not early
    assert len(held.entered) > 10


@pytest.mark.parametrize("admit_after", [1, 15])
def test_counters_saturate_rather_than_spill(admit_after: int) -> None:
    """Far more features than a line of counters can tell apart: none disturbs its neighbour."""
    rows = [row.tolist() for row in distinct(600, seed=2).reshape(60, 10)]
    held, early = compare(rows * 3, bloom(admit_after, 1, 1))
    assert early
    assert held.held.fill() == 1
    assert held.held.false_positives() == held.held.false_positives_in_theory() == 1


@pytest.mark.parametrize("generations", [1, 3])
def test_at_capacity_few_enter_early_and_the_estimate_says_how_many(generations: int) -> None:
    """94 lines of 128 counters, 12 for each of a thousand features in a generation."""
    capacity, every = 1000, 100
    rotate_every = every if generations > 1 else 2**40
    held = Filters(bloom(1, 94, generations, rotate_every))
    for row in distinct(generations * capacity, seed=3).reshape(generations * every, -1):
        held.example(row.tolist())
    assert len(held.entered) < 0.02 * generations * generations * capacity
    samples = 4000
    asked = distinct(samples, seed=4).tolist()
    share = sum(held.remembered(feature) > 0 for feature in asked) / samples
    assert 0 < share < 0.02 * generations
    # Two binomial samples of one probability: four standard deviations apart at most.
    error = 4 * (2 * share / samples) ** 0.5
    assert abs(held.held.false_positives(samples) - share) < error
    assert abs(held.held.false_positives_in_theory() - share) < error


def test_old_sightings_are_forgotten() -> None:
    """Generations of 10 examples, two remembered: a pause of 20 examples starts from nothing."""
    held = Filters(bloom(2, 1000, 2, 10))
    for pause in (8, 20):
        held.example([])
        held.example([7])  # of the first line, whose turn it has been just now
        held.example([7])
        assert held.remembered(7) == 2
        for _ in range(pause):
            held.example([])
        if pause == 8:
            assert held.remembered(7) == 2
            for _ in range(19):
                held.example([])
    held.example([7])
    assert 7 not in held.entered
    assert held.remembered(7) == 1


@quick
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 7, 40, 900, 10**6, 10**12]), st.integers(1, 30))),
    st.integers(1, 4),
    st.integers(1, 50),
)
def test_generations_may_last_for_a_time(
    steps: list[tuple[int, int]], generations: int, period: int
) -> None:
    """Event time leaps, and goes back; a feature is remembered for G - 1 to G generations."""
    changes = {"rotate_period": period, "rotate_every": 1}
    held = Filters(bloom(15, 3, generations).model_copy(update=changes))
    now, greatest, seen = 10**12, 0, dict[int, list[int]]()
    for step, feature in steps:
        now = now - 5 if step == 7 else now + step
        greatest = max(greatest, now)
        held.example([feature << 58], now)
        seen.setdefault(feature, []).append(greatest)
        for name, times in seen.items():
            ages = [greatest - time for time in times]
            surely = sum(age < (generations - 1) * period for age in ages)
            perhaps = sum(age <= generations * period for age in ages)
            found = held.remembered(name << 58)
            assert found >= min(surely, MAX_ADMIT_AFTER) or name << 58 in held.entered
            if len(seen) == 1:  # nobody else's counters are in the way
                assert found <= perhaps


def test_a_sweep_that_falls_behind_forgets_everything_all_the_same() -> None:
    """A leap of a day, when only a part of the lines can be emptied at an example."""
    changes = {"rotate_period": 1000}
    held = Filters(bloom(3, 20_000, 2).model_copy(update=changes))
    names = distinct(50, seed=7).tolist()
    held.example(names, 5000)
    held.example([], 86_400_000)
    assert sum(held.remembered(name) for name in names) > 0
    for _ in range(100):
        held.example([], 86_400_000)
    assert not held.held.words.any()


def test_a_leap_of_time_turns_few_lines_no_further_than_it_went() -> None:
    """Though more could be emptied at one example than there are."""
    held = Filters(AdmissionSettings(kind="bloom", memory=0.01, generations=1, rotate_period=10))
    held.example([], 0)
    held.example([], 305)
    progress, lines = held.held.progress, held.held.rules.lines
    assert (int(progress["round"][0]), int(progress["line"][0])) == (30, lines // 2)


def test_of_many_lines_some_say_how_full_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the counters of the first half of the lines, and none of the others."""
    held = Admission(bloom(1, lines=1024))
    own = held.words[: held.rules.lines * 16].reshape(-1, 16)
    own[: len(own) // 2] = 0x0F0F0F0F0F0F0F0F
    whole, theory = held.fill(), held.false_positives_in_theory()
    assert whole == pytest.approx(0.25)
    monkeypatch.setattr("ftrl.admission.bloom.MOST_LINES", 300)
    assert held.fill() == pytest.approx(whole, abs=0.005)
    assert held.false_positives_in_theory() == pytest.approx(theory, abs=0.02)


def test_admitted_features_leave_the_filter_alone() -> None:
    held = Filters(bloom(1, 100))
    held.example([7])
    held.example([7])
    assert held.entered == {7: 1}
    before = held.held.words.copy()
    held.example([7])
    assert (held.held.words == before).all()


@pytest.mark.parametrize(
    "settings", [AdmissionSettings(), AdmissionSettings(kind="bloom", admit_after=0)]
)
def test_without_a_bar_everything_enters_and_nothing_is_kept(settings: AdmissionSettings) -> None:
    held = Filters(settings)
    held.example([1, 2, 3])
    assert held.entered == {1: 0, 2: 0, 3: 0}
    assert held.held.words.nbytes == 0
    assert held.held.fill() == 0
    assert held.held.false_positives() == 0
    assert held.held.false_positives_in_theory() == held.held.false_admissions() == 0


@pytest.mark.parametrize("memory", [1, 24])
def test_filters_take_the_memory_they_are_given(memory: int) -> None:
    held = Admission(AdmissionSettings(kind="bloom", generations=3, memory=memory))
    assert held.words.ctypes.data % 64 == 0
    assert 0.999 * memory * 2**20 < held.words.nbytes <= memory * 2**20


@pytest.mark.parametrize("probability", [0.03, 0.1, 0.5])
def test_poisson_inclusion_waits_a_geometric_time(probability: float) -> None:
    """Every sighting is a draw of its own: mean and spread are those of the geometric law."""
    held = Filters(AdmissionSettings(kind="poisson", probability=probability))
    names = distinct(1000, seed=6).tolist()
    for _ in range(round(14 / probability)):
        held.example(names)
    waits = np.array([held.entered[name] + 1 for name in names])  # all but one in a million
    spread = (1 - probability) ** 0.5 / probability
    assert abs(waits.mean() - 1 / probability) < 4 * spread / 1000**0.5
    assert abs((waits == 1).mean() - probability) < 4 * (probability / 1000) ** 0.5
    assert 0.8 < waits.std() / spread < 1.2
    assert held.held.words.nbytes == 0


def test_poisson_inclusion_at_certainty_lets_everything_in() -> None:
    held = Filters(AdmissionSettings(kind="poisson", probability=1))
    held.example([1, 2, 3])
    assert held.entered == {1: 0, 2: 0, 3: 0}
