"""Replays that earlier versions began go on to the byte where they did, and their versions score.

Kept: what a run may be stopped, killed or finished with, of each layout, with corrections,
subsampling, Bloom filters and eviction (tests/fixtures).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from ftrl.table.layout import LAYOUTS
from tests import ROOT
from tests.fixtures import runs
from tests.support.commands import clickloop

FIXTURES = ROOT / "tests" / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.glob("v*"))


@pytest.fixture(params=VERSIONS)
def fixtures(request: pytest.FixtureRequest) -> Path:
    return FIXTURES / str(request.param)


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def expected(fixtures: Path, layout: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(
        (runs.folder_of(fixtures, layout) / runs.EXPECTED).read_text()
    )
    return values


@pytest.mark.parametrize("state", ["stopped", "killed", None])
def test_a_run_goes_on_to_where_it_went(
    fixtures: Path,
    layout: str,
    state: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows, letters, metrics, weights, state and versions; also of a run from its beginning."""
    monkeypatch.chdir(tmp_path)
    runs.enter(fixtures, layout, state, tmp_path)
    if state is not None:
        runs.forget_beginning()
    assert runs.go_on() == expected(fixtures, layout)["run"]


def test_a_finished_run_is_intact_and_scores_as_it_did(
    fixtures: Path, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last version, the same as logged, and the first; resumed, the run is what it was."""
    monkeypatch.chdir(tmp_path)
    runs.enter(fixtures, layout, "finished", tmp_path)
    done = clickloop("snapshots", "verify", "--store", runs.RUN / "store")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("intact") > 3
    assert runs.scores() == expected(fixtures, layout)["scores"]
    runs.forget_beginning()
    assert runs.go_on() == expected(fixtures, layout)["run"]


def test_everything_is_on(fixtures: Path, layout: str) -> None:
    """A part that never happens in a fixture is not kept by it."""
    run = expected(fixtures, layout)["run"]
    for count in ("corrections", "sampled_out", "late_clicks", "orphan_clicks", "rejected_clicks"):
        assert run["ledger"][count] > 1, count
    assert run["ledger"]["duplicate_impressions"] > 10
    assert run["ledger"]["duplicate_clicks"] > 10
    for reason in ("too_late", "too_far_ahead", "not_one_object", "orphan", "bad_ts"):
        assert run["rejections"][reason], reason
    assert run["model"]["evicted"] > 10
    assert run["model"]["filter_fill"] > 0
    assert len(run["versions"]) > 3
