"""The whole loop on the real hotel-search logs: the quality that a faster kernel must not cost.

All but the simulated traffic needs the real logs.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest

from deploy import settings
from deploy.replay import replay as replay_module
from deploy.replay.replay import EXAMPLES, STORE, replay
from deploy.serving.score_file import score_file
from tests.support import trivago
from tests.system import quality

IMPRESSIONS, CLICKS = str(trivago.IMPRESSIONS), str(trivago.CLICKS)

pytestmark = pytest.mark.slow
real = pytest.mark.usefixtures("real_logs")

Run = Callable[..., tuple[dict[str, Any], Path]]


@pytest.fixture(scope="module", autouse=True)
def _no_reports() -> Iterator[None]:
    """Nobody looks at them, and each takes half a second to draw."""
    with patch.object(replay_module, "write_report"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Replay with one of the example settings and some keys changed; each is run once."""

    @cache
    def replayed(name: str, **changes: Any) -> tuple[dict[str, Any], Path]:
        loaded = trivago.changed(settings.load(trivago.example(name)), **changes)
        out = tmp_path_factory.mktemp("quality") / "run"
        return replay(loaded, IMPRESSIONS, CLICKS, out), out

    return replayed


def entropy_of_all(run: Path, truth: Path, tmp_path: Path) -> float:
    """The normalized entropy, over every impression of `truth`, of the final version of `run`."""
    scores = tmp_path / "scores.parquet"
    score_file(run / STORE, IMPRESSIONS, scores, as_logged=True)
    scored = pq.read_table(scores)
    labelled = pq.read_table(truth / EXAMPLES, columns=["impression_id", "label"])
    assert scored["impression_id"].to_pylist() == labelled["impression_id"].to_pylist()
    p, y = scored["p"].to_numpy(), labelled["label"].to_numpy()
    rate = y.mean()
    loss = -np.where(y == 1, np.log(p), np.log1p(-p)).mean()
    return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


@real
@pytest.mark.parametrize(
    ("name", "bound"), [("trivago.toml", 0.7510), ("trivago-crosses.toml", 0.7395)]
)
def test_normalized_entropy(run: Run, name: str, bound: float) -> None:
    document, _ = run(name)
    metrics = document["metrics"]
    assert metrics["examples"] == 312_539
    assert metrics["normalized_entropy"] <= bound
    assert metrics["calibration"] == pytest.approx(1, abs=0.01)


def check(figures: list[quality.Figure], asked: int) -> None:
    assert sum(figure.holds is not None for figure in figures) == asked
    for figure in figures:
        print(figure)
        assert figure.holds is not False, figure


@real
def test_8_bytes_a_slot_cost_next_to_nothing(tmp_path: Path) -> None:
    check(quality.fixed_point(tmp_path), asked=8)


@real
def test_corrections_make_up_for_a_short_window(tmp_path: Path) -> None:
    figures = quality.corrections(tmp_path)
    check(figures, asked=3)
    values = {figure.name: float(figure.value.split()[0]) for figure in figures}
    assert values["60 s, no corrections, r = 1, calibration"] < 0.75


def test_predictions_come_close_to_a_planted_truth(tmp_path: Path) -> None:
    check(quality.planted_truth(tmp_path), asked=5)


@real
def test_a_tenth_of_the_negatives_is_enough(run: Run, tmp_path: Path) -> None:
    _, whole = run("trivago.toml")
    document, sampled = run("trivago.toml", sampling__keep_rate=0.1)
    ledger = document["ledger"]
    assert ledger["sampled_out"] == pytest.approx(0.9 * 299_026, rel=0.01)
    assert document["metrics"]["calibration"] == pytest.approx(1, abs=0.02)
    asked = entropy_of_all(whole, whole, tmp_path)
    assert entropy_of_all(sampled, whole, tmp_path) == pytest.approx(asked, rel=0.01)


@real
def test_admission_saves_most_coordinates_for_almost_nothing(run: Run) -> None:
    every, _ = run("trivago-crosses.toml", admission__kind="bloom", admission__admit_after=0)
    frequent, _ = run("trivago-crosses.toml", admission__kind="bloom", admission__admit_after=2)
    admitted = [d["model"]["features_admitted"] for d in (frequent, every)]
    assert admitted[0] <= 0.3 * admitted[1]
    entropy = [d["metrics"]["normalized_entropy"] for d in (frequent, every)]
    assert entropy[0] <= 1.001 * entropy[1]
    off, _ = run("trivago-crosses.toml")
    assert off["model"]["features_admitted"] == admitted[1]
