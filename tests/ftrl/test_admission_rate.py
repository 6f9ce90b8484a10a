"""How often filters let features in too early: the live estimate against an exact counter."""

import numpy as np
import pytest

from ftrl.settings import AdmissionSettings
from tests.ftrl.test_admission import Filters
from tests.support.learning import counter

EXAMPLES, FEATURES = 12_000, 32
EVERY = 4000
ONCE = 0.4  # of the sightings, those of features that never come again


@pytest.mark.parametrize(("admit_after", "memory"), [(1, 0.25), (2, 0.14), (5, 0.06)])
def test_the_live_estimate_is_within_a_fifth_of_the_measured_rate(
    admit_after: int, memory: float
) -> None:
    """In filters so small that thousands enter early: fewer could not be measured so closely."""
    settings = AdmissionSettings(
        kind="bloom", admit_after=admit_after, memory=memory, generations=3, rotate_every=EVERY
    )
    rng = np.random.default_rng(admit_after)
    names = rng.integers(1, 2**64, 60_000, dtype=np.uint64)
    ranks = (len(names) ** rng.random((EXAMPLES, FEATURES))).astype(np.int64) - 1
    once = rng.random((EXAMPLES, FEATURES)) < ONCE
    keys = np.where(once, rng.integers(1, 2**64, once.shape, dtype=np.uint64), names[ranks])
    filters, exact = Filters(settings), counter(settings)
    held_back = early = 0.0
    for number, row in enumerate(keys.tolist()):
        if number % EVERY == 0:  # older ones count half, as in the estimate
            held_back, early = held_back / 2, early / 2
        features = sorted({feature for feature in row if feature not in filters.entered})
        filters.example(features)
        exact.start_example()
        for feature in features:
            if not exact.admits(feature):
                held_back += 1
                early += feature in filters.entered
    measured = early / held_back
    assert 0.1 < measured < 0.6
    assert 0.8 < filters.held.false_admissions() / measured < 1.2
    found, theory = filters.held.false_positives(), filters.held.false_positives_in_theory()
    assert 0.8 < found / theory < 1.2
