"""The benchmark of pauses, on small tables: each part does what it is about."""

import pytest

from benchmarks.pauses import PARTS


@pytest.mark.parametrize("name", PARTS)
def test_each_part_watches_steps(name: str) -> None:
    found = PARTS[name](30_000)
    assert found
    for title, taken in found.items():
        assert name in title
        assert len(taken) > 10
        assert all(ms >= 0 for ms in taken)
