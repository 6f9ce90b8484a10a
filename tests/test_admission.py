"""The rolling counting Bloom filters against exact counts: never late, seldom early."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl import admission
from ftrl.admission import Admission
from ftrl.settings import MAX_ADMIT_AFTER, AdmissionSettings
from streams.jit import U64
from tests.oracles.counter import ExactCounter

pytestmark = pytest.mark.kernel

quick = settings(max_examples=40, deadline=None)


def bloom(
    admit_after: int, capacity: int, generations: int = 2, rotate_every: int = 2**40
) -> AdmissionSettings:
    return AdmissionSettings(
        kind="bloom",
        admit_after=admit_after,
        capacity=capacity,
        generations=generations,
        rotate_every=rotate_every,
    )


class Filters:
    """Filters in use: what has been admitted, and at which example."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self.held = Admission(settings)
        self.entered: dict[int, int] = {}
        self.examples = 0

    def example(self, features: Sequence[int]) -> None:
        """Sight the features of one example, each once."""
        words, rules = self.held.words, self.held.rules
        generation = admission.start_example(words, rules, self.examples)
        absent = np.array([f for f in features if f not in self.entered], np.uint64)
        chosen = np.arange(len(absent))
        totals = np.empty(len(absent), np.int64)
        here = np.uint64(admission.circumstances(rules, np.uint64(0), self.examples, 0))
        size = admission.admit(words, rules, generation, here, absent, chosen, totals, len(absent))
        for feature in absent[chosen[:size]].tolist():
            self.entered[feature] = self.examples
        self.examples += 1

    def remembered(self, feature: int) -> int:
        """How often the filters believe to have seen a feature."""
        key = np.uint64(feature)
        line = admission.line_of(self.held.rules, key)
        return sum(
            int(admission.sightings(self.held.words, line + np.int64(8 * generation), key))
            for generation in range(self.held.rules.generations)
        )


def compare(rows: Sequence[Sequence[int]], settings: AdmissionSettings) -> tuple[Filters, set[int]]:
    """Run filters and exact counter side by side; which features entered early."""
    filters = Filters(settings)
    exact = ExactCounter(settings.admit_after, settings.generations, settings.rotate_every)
    entered: dict[int, int] = {}
    for number, row in enumerate(rows):
        filters.example(row)
        exact.start_example()
        for feature in row:
            if feature not in entered and exact.admits(feature):
                entered[feature] = number
        for feature in row:
            if feature not in filters.entered:
                seen = min(exact.remembered(feature), MAX_ADMIT_AFTER)
                assert filters.remembered(feature) >= seen, "counted too few"
    for feature, number in entered.items():
        assert filters.entered[feature] <= number, "entered late"
    return filters, {f for f, n in filters.entered.items() if entered.get(f, n + 1) > n}


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
    filters, early = compare(rows, bloom(admit_after, 50_000, 2, rotate_every))
    assert not early
    assert len(filters.entered) > 10


@pytest.mark.parametrize("admit_after", [1, 15])
def test_counters_saturate_rather_than_spill(admit_after: int) -> None:
    """Far more features than a line of counters can tell apart: none disturbs its neighbour."""
    rows = [row.tolist() for row in distinct(600, seed=2).reshape(60, 10)]
    filters, early = compare(rows * 3, bloom(admit_after, 1, 1))
    assert early
    assert filters.held.fill() == 1


@pytest.mark.parametrize("generations", [1, 3])
def test_at_capacity_few_enter_early_and_the_estimate_says_how_many(generations: int) -> None:
    capacity, every = 1000, 100
    filters = Filters(bloom(1, capacity, generations, every))
    for row in distinct(generations * capacity, seed=3).reshape(generations * every, -1):
        filters.example(row.tolist())
    assert len(filters.entered) < 0.02 * generations * generations * capacity
    samples = 4000
    asked = distinct(samples, seed=4).tolist()
    share = sum(filters.remembered(feature) > 0 for feature in asked) / samples
    assert 0 < share < 0.02 * generations
    estimate = filters.held.false_positives(samples)
    # Two binomial samples of one probability: four standard deviations apart at most.
    assert abs(estimate - share) < 4 * (2 * share / samples) ** 0.5


def test_what_enters_early_is_what_the_estimate_says() -> None:
    """Each feature is seen twice, three times are asked for: only collisions let any in."""
    names = distinct(1500, seed=5).reshape(150, 10).tolist()
    filters, early = compare([*names, *names], bloom(2, 1000, 1))
    assert set(filters.entered) == early
    estimate = filters.held.false_positives()
    assert 0.2 * estimate < len(early) / 1500 < 1.2 * estimate


def test_old_sightings_are_forgotten() -> None:
    """Generations of 10 examples, two remembered: a pause of 20 examples starts from nothing."""
    filters = Filters(bloom(2, 1000, 2, 10))
    for pause in (9, 20):
        filters.example([7])
        filters.example([7])
        assert filters.remembered(7) == 2
        for _ in range(pause):
            filters.example([])
        if pause == 9:
            assert filters.remembered(7) == 2
            for _ in range(11):
                filters.example([])
    filters.example([7])
    assert 7 not in filters.entered
    assert filters.remembered(7) == 1


def test_admitted_features_leave_the_filter_alone() -> None:
    filters = Filters(bloom(1, 1000))
    filters.example([7])
    filters.example([7])
    assert filters.entered == {7: 1}
    before = filters.held.words.copy()
    filters.example([7])
    assert (filters.held.words == before).all()


@pytest.mark.parametrize(
    "settings", [AdmissionSettings(), AdmissionSettings(kind="bloom", admit_after=0)]
)
def test_without_a_bar_everything_enters_and_nothing_is_kept(settings: AdmissionSettings) -> None:
    filters = Filters(settings)
    filters.example([1, 2, 3])
    assert filters.entered == {1: 0, 2: 0, 3: 0}
    assert filters.held.words.nbytes == 0
    assert filters.held.fill() == 0
    assert filters.held.false_positives() == 0


def test_counters_lie_in_whole_cache_lines() -> None:
    held = Admission(bloom(1, 100, 3))
    assert held.words.ctypes.data % 64 == 0
    assert held.words.nbytes == held.rules.lines * 3 * 64
    assert held.rules.lines * 128 >= 100 * 12


@pytest.mark.parametrize("probability", [0.03, 0.1, 0.5])
def test_poisson_inclusion_waits_a_geometric_time(probability: float) -> None:
    """Every sighting is a draw of its own: mean and spread are those of the geometric law."""
    filters = Filters(AdmissionSettings(kind="poisson", probability=probability))
    names = distinct(1000, seed=6).tolist()
    for _ in range(round(14 / probability)):
        filters.example(names)
    waits = np.array([filters.entered[name] + 1 for name in names])  # all but one in a million
    spread = (1 - probability) ** 0.5 / probability
    assert abs(waits.mean() - 1 / probability) < 4 * spread / 1000**0.5
    assert abs((waits == 1).mean() - probability) < 4 * (probability / 1000) ** 0.5
    assert 0.8 < waits.std() / spread < 1.2
    assert filters.held.words.nbytes == 0


def test_poisson_inclusion_at_certainty_lets_everything_in() -> None:
    filters = Filters(AdmissionSettings(kind="poisson", probability=1))
    filters.example([1, 2, 3])
    assert filters.entered == {1: 0, 2: 0, 3: 0}
