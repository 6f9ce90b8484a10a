"""The estimate of how many distinct features were seen."""

import numpy as np
import pytest

from ftrl import sketch

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("count", [0, 1, 10, 1000, 30_000])
def test_the_sketch_estimates_distinct_features(count: int) -> None:
    seen = sketch.registers()
    for key in np.random.default_rng(count).integers(1, 2**64, count, dtype=np.uint64):
        sketch.observe(seen, key)
        sketch.observe(seen, key)
    assert sketch.estimate(seen) == pytest.approx(count, rel=0.025, abs=0.5)


def test_the_sketch_at_its_ends() -> None:
    """Full registers, which only 2^50 features would fill, still give a finite estimate."""
    seen = sketch.registers()
    sketch.observe(seen, np.uint64(2**63))
    assert seen.max() == sketch.RANK_BITS + 1
    seen[:] = sketch.RANK_BITS
    assert 1e18 < sketch.estimate(seen) < 1e21
    seen[1:] = sketch.RANK_BITS + 1
    assert sketch.estimate(seen) > 1e18
