"""The loop on a real broker, whatever befalls its workers: every example is right, and once."""

from pathlib import Path

import pytest

from tests.kafka.scenarios import SCENARIOS, run


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_repeated_or_wrong(name: str, kafka: str, tmp_path: Path) -> None:
    run(name, kafka, tmp_path, seed=1)
