"""One kill -9 for each numbered step of a save, and one at a random moment; see tests/faults.py."""

from pathlib import Path
from typing import Any

import pytest

from tests import trivago
from tests.faults import STEPS, Case, cases, resumed_after_kills, straight, trivago_cases


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("faults")
    return [(case, straight(case, folder / f"straight-{case.name}")) for case in cases(folder)]


def check_that_everything_is_on(expected: dict[str, Any]) -> None:
    ledger = expected["metrics"]["ledger"]
    for count in ("corrections", "sampled_out", "late_clicks"):
        assert ledger[count] > 3, count


def test_everything_is_on(runs: list[tuple[Case, dict[str, Any]]]) -> None:
    for _, expected in runs:
        check_that_everything_is_on(expected)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_and_resumed(
    runs: list[tuple[Case, dict[str, Any]]], tmp_path: Path, step: str
) -> None:
    case, expected = runs[list(STEPS).index(step) % len(runs)]
    number = 1 if step == "list" else 2  # a list is rare
    found, died = resumed_after_kills(case, tmp_path / "out", [f"{step}:{number}"])
    assert died == 1
    for part, value in expected.items():
        assert found[part] == value, part


def test_killed_at_any_moment_and_resumed(
    runs: list[tuple[Case, dict[str, Any]]], tmp_path: Path
) -> None:
    case, expected = runs[1]
    found, _ = resumed_after_kills(case, tmp_path / "out", ["after:2.2", "commit:1", "after:2.4"])
    for part, value in expected.items():
        assert found[part] == value, part


@pytest.mark.skipif(not trivago.THERE, reason=trivago.MISSING)
def test_killed_within_the_real_log_and_resumed(tmp_path: Path) -> None:
    (case,) = trivago_cases(tmp_path, ["middle"])
    expected = straight(case, tmp_path / "straight")
    check_that_everything_is_on(expected)
    found, died = resumed_after_kills(case, tmp_path / "out", ["list:1", "array:2", "commit:3"])
    assert died == 3
    for part, value in expected.items():
        assert found[part] == value, part
