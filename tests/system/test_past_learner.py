"""Learners that earlier versions left learn on to the byte; so do those begun from a past replay.

Kept: the store of a learner of each layout that was killed in the middle of a labelled topic, the
topic itself, and what a learner comes to that starts from a finished replay (tests/fixtures).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from ftrl.table.layout import LAYOUTS
from tests import ROOT
from tests.fixtures import learned

FIXTURES = ROOT / "tests" / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.glob("v*"))


@pytest.fixture(params=VERSIONS)
def fixtures(request: pytest.FixtureRequest) -> Path:
    return FIXTURES / str(request.param)


def expected(fixtures: Path, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(
        (learned.folder_of(fixtures, name) / learned.EXPECTED).read_text()
    )
    return values


@pytest.mark.parametrize("name", [*LAYOUTS, "poisson"])
def test_a_learner_goes_on_to_where_it_went(fixtures: Path, name: str, tmp_path: Path) -> None:
    found = learned.went_on(fixtures, name, tmp_path)
    following = found.pop("following")
    ends = {number: one.offset for number, one in learned.messages(fixtures / learned.TOPIC)}
    assert all(10 < following[str(number)] < end - 10 for number, end in ends.items())
    assert found == expected(fixtures, name)["went on"]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_learner_begun_from_a_past_replay_comes_to_where_it_came(
    fixtures: Path, layout: str, tmp_path: Path
) -> None:
    begun = learned.begun_from(fixtures, layout, tmp_path)
    assert begun == expected(fixtures, layout)["begun"]
    replayed = json.loads((fixtures / f"replay-{layout}" / "expected.json").read_text())["run"][
        "weights"
    ]
    assert begun["at once"]["weights"] == replayed


def test_everything_is_on(fixtures: Path) -> None:
    """A part that never happens in a fixture is not kept by it."""
    for name in (*LAYOUTS, "poisson"):
        assert len(expected(fixtures, name)["went on"]["versions"]) > 1
        assert expected(fixtures, name)["went on"]["features"] > 20
