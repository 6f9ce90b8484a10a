"""The loop on a real broker, whatever befalls its workers: every example is right, and once."""

from pathlib import Path

import pytest

from tests.system.kafka.scenarios import SCENARIOS, run
from tests.system.kafka.stage import compile_kernels


@pytest.fixture(scope="module", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody waits for workers that compile, and those that are killed begin again."""
    compile_kernels(tmp_path_factory.mktemp("compiled"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_repeated_or_wrong(name: str, kafka: str, tmp_path: Path) -> None:
    run(name, kafka, tmp_path, seed=1)
