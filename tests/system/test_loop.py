"""One short run of the whole loop on a real broker: every example is right, and learned once."""

from pathlib import Path

import pytest

from tests.system.kafka.scenarios import undisturbed
from tests.system.kafka.stage import compile_kernels


@pytest.mark.short
def test_every_example_is_right_and_learned_once(kafka: str, tmp_path: Path) -> None:
    compile_kernels(tmp_path)
    happened = undisturbed(kafka, tmp_path, seed=1)
    for what in ("joined positives", "joined corrections", "joined duplicates", "late clicks"):
        assert happened[what] > 0, what
