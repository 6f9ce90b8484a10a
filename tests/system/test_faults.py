"""A kill -9 at each numbered step of a save, at openings, and at a moment: tests.system.faults."""

from pathlib import Path
from typing import Any

import pytest

from tests.system.fault_cases import Case, cases, exercised, straight, trivago_cases
from tests.system.faults import STEPS, resumed_after_kills

pytestmark = pytest.mark.slow

Runs = dict[str, tuple[Case, dict[str, Any]]]

CHECKED = ("learner.", "admission.")  # options; others can be seen in the ledger


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Each case with its outcome."""
    folder = tmp_path_factory.mktemp("faults")
    return {
        case.name: (case, straight(case, folder / f"straight-{case.name}"))
        for case in cases(folder)
    }


def check_that_everything_is_on(expected: dict[str, Any]) -> None:
    ledger = expected["metrics"]["ledger"]
    for count in ("corrections", "sampled_out", "late_clicks"):
        assert ledger[count] > 3, count


def test_everything_is_on(runs: Runs) -> None:
    for _, expected in runs.values():
        check_that_everything_is_on(expected)
    for name in ("small", "timed", "drawn", "compact"):
        assert runs[name][1]["metrics"]["model"]["evicted"] > 5
    for name in ("timed", "compact"):
        assert runs[name][1]["values"]["learner"]["clock"] > 0


@pytest.mark.parametrize(("name", "options"), [("compact", 8), ("drawn", 4)])
def test_no_option_is_on_in_vain(runs: Runs, tmp_path: Path, name: str, options: int) -> None:
    case, expected = runs[name]
    found = exercised(case, expected, tmp_path, CHECKED)
    assert len(found) == options
    for option in found:
        assert option.does_something, option


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_and_resumed(runs: Runs, tmp_path: Path, step: str) -> None:
    case, expected = list(runs.values())[list(STEPS).index(step) % len(runs)]
    number = 1 if step == "list" else 2  # a list is rare
    found, died = resumed_after_kills(case, tmp_path / "out", [f"{step}:{number}"])
    assert died == 1
    for part, value in expected.items():
        assert found[part] == value, part


def test_killed_while_its_store_is_made_and_opened(runs: Runs, tmp_path: Path) -> None:
    case, expected = runs["small"]
    deaths = ["opening:2", "opening:8", "commit:2", "opening:4"]
    found, died = resumed_after_kills(case, tmp_path / "out", deaths)
    assert died > 1
    for part, value in expected.items():
        assert found[part] == value, part


def test_killed_at_any_moment_and_resumed(runs: Runs, tmp_path: Path) -> None:
    case, expected = runs["compact"]
    found, _ = resumed_after_kills(case, tmp_path / "out", ["after:2.2", "commit:1", "after:2.4"])
    for part, value in expected.items():
        assert found[part] == value, part


@pytest.mark.usefixtures("real_logs")
def test_killed_within_the_real_log_and_resumed(tmp_path: Path) -> None:
    (case,) = trivago_cases(tmp_path, ["middle"])
    expected = straight(case, tmp_path / "straight")
    check_that_everything_is_on(expected)
    assert expected["metrics"]["model"]["evicted"] > 500
    found, died = resumed_after_kills(case, tmp_path / "out", ["page:9", "array:2", "commit:3"])
    assert died == 3
    for part, value in expected.items():
        assert found[part] == value, part
