"""The estimate of how many distinct features were seen."""

import numpy as np
import pytest

from ftrl.admission import hyperloglog

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("count", [0, 1, 10, 1000, 30_000])
def test_the_sketch_estimates_distinct_features(count: int) -> None:
    seen = hyperloglog.registers()
    for key in np.random.default_rng(count).integers(1, 2**64, count, dtype=np.uint64):
        hyperloglog.observe(seen, key)
        hyperloglog.observe(seen, key)
    assert hyperloglog.estimate(seen) == pytest.approx(count, rel=0.025, abs=0.5)


def test_the_sketch_at_its_ends() -> None:
    """Full registers, which only 2^50 features would fill, still give a finite estimate."""
    seen = hyperloglog.registers()
    hyperloglog.observe(seen, np.uint64(2**63))
    assert seen.max() == hyperloglog.RANK_BITS + 1
    seen[:] = hyperloglog.RANK_BITS
    assert 1e18 < hyperloglog.estimate(seen) < 1e21
    seen[1:] = hyperloglog.RANK_BITS + 1
    assert hyperloglog.estimate(seen) > 1e18
