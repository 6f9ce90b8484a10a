"""The protocol of workers, in simulated schedules of everything that can go wrong."""

import pytest

from tests.system.simulation.__main__ import outcome, run
from tests.system.simulation.mutations import RULES

SCHEDULES = 2_000  # `make faults` runs a million
SLICES = 4
# What a schedule is about must happen; each slice is big enough for all of it.
ASKED = {
    "workers",
    "crashes",
    "refused",
    "superseded",
    "messages of the dead",
    "void blocks",
    "cuts finished by another",
    "examples",
    "corrections",
    "late clicks",
    "duplicates",
    "sampled out",
    "breaker openings",
}


slow = [pytest.param(part, marks=pytest.mark.slow) for part in range(1, SLICES)]


@pytest.mark.parametrize("part", [0, *slow])
def test_no_schedule_loses_repeats_or_mislabels(part: int) -> None:
    size = SCHEDULES // SLICES
    happened, failed = run(range(part * size, (part + 1) * size))
    assert failed == []
    assert {what for what in ASKED if not happened[what]} == set()


@pytest.mark.parametrize("rule", RULES)
def test_without_a_rule_some_schedule_fails(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    RULES[rule](monkeypatch)
    assert any(outcome(seed) for seed in range(400))
