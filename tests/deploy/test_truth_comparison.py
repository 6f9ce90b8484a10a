"""Predictions beside the truth, against a plain join in Python."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from deploy import settings
from deploy.replay.replay import replay
from deploy.simulation import simulate, truth_comparison, truth_reader
from streams.errors import DataError
from streams.simulator import Simulation
from tests.support.commands import clickloop

Row = dict[str, Any]
SMALL = (
    *("impressions=8000", "users=300", "ads=80", "publishers=8", "advertisers=5", "ctr=0.1"),
    *("out_of_order_rate=0.2", "duplicate_rate=0.05", "skewed_rate=0.02", "malformed_rate=0.02"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulate.run(simulate.parse_assignments(SMALL), tmp_path_factory.mktemp("logs") / "logs")


def replayed(made: Simulation, folder: Path, rate: float) -> Path:
    told = settings.load(made.config)
    told = told.model_copy(
        update={"sampling": told.sampling.model_copy(update={"keep_rate": rate})}
    )
    replay(told, str(made.impressions), str(made.clicks), folder)
    return folder


@pytest.fixture(scope="module", params=[1.0, 0.3])
def run(
    request: pytest.FixtureRequest, made: Simulation, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A replay with all negatives, and one with a part of them."""
    return replayed(made, tmp_path_factory.mktemp("run") / "run", request.param)


def rows_of(run: Path, made: Simulation) -> list[Row]:
    """First labels joined with the truth, each with its place there as `at`."""
    truth = {
        row["impression_id"]: row | {"at": at}
        for at, row in enumerate(pq.read_table(made.truth).to_pylist())
    }
    examples = pq.read_table(run / "examples").to_pylist()
    return [truth[e["impression_id"]] | e for e in examples if e["kind"] == 0]


def mean(rows: list[Row], value: Any) -> float:
    """Each kept negative stands for 1/r of them."""
    weights = [1 / row["keep_rate"] for row in rows]
    total = math.fsum(w * value(row) for w, row in zip(weights, rows, strict=True))
    return total / math.fsum(weights)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def check_group(found: Row, rows: list[Row]) -> None:
    assert found["examples"] == len(rows)
    p, true_p = (mean(rows, lambda row, key=key: row[key]) for key in ("p", "true_p"))
    assert found["p"] == pytest.approx(p, rel=1e-12)
    assert found["true_p"] == pytest.approx(true_p, rel=1e-12)
    assert found["calibration"] == pytest.approx(p / true_p, rel=1e-12)
    distance = mean(rows, lambda row: abs(row["p"] - row["true_p"]))
    assert found["mean_abs_error"] == pytest.approx(distance, rel=1e-12)


@pytest.mark.parametrize("batch", [truth_reader.BATCH, 500])
def test_it_is_what_a_plain_join_gives(
    run: Path, made: Simulation, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth_reader, "BATCH", batch)
    monkeypatch.setattr(truth_comparison, "BATCH", batch)
    found = truth_comparison.compare(run, made.truth)
    rows = rows_of(run, made)
    assert len(rows) > 2000
    check_group(found, rows)
    check_group(found["last_three_quarters"], [row for row in rows if row["at"] >= 2000])
    for i, eighth in enumerate(found["eighths"]):
        check_group(eighth, [row for row in rows if row["at"] // 1000 == i])

    share = mean(rows, lambda row: row["clicked"])
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    for name, key in (("normalized_entropy", "p"), ("oracle_normalized_entropy", "true_p")):
        loss = mean(rows, lambda r, key=key: -math.log(r[key] if r["clicked"] else 1 - r[key]))
        assert found[name] == pytest.approx(loss / entropy, rel=1e-9)
    assert found["oracle_normalized_entropy"] < found["normalized_entropy"]


def test_bins_hold_similar_predictions(run: Path, made: Simulation) -> None:
    rows = rows_of(run, made)
    parts: dict[int, list[Row]] = {}
    for row in rows:
        parts.setdefault(math.floor(2 * logit(row["p"])), []).append(row)
    bins = truth_comparison.compare(run, made.truth)["bins"]
    assert len(bins) == len(parts) > 4
    for found, number in zip(bins, sorted(parts), strict=True):
        part = parts[number]
        assert found["examples"] == len(part)
        assert found["p"] == pytest.approx(mean(part, lambda row: row["p"]), rel=1e-12)
        assert found["true_p"] == pytest.approx(mean(part, lambda row: row["true_p"]), rel=1e-12)
        # Each end is the middle of a cell of 1/32 of a logit that holds the quantile.
        for end, most in zip(map(logit, found["true_p_range"]), (0.1, 0.9), strict=True):
            below, upto = (
                mean(part, lambda row, end=end + by: logit(row["true_p"]) <= end)
                for by in (-1 / 64 - 1e-9, 1 / 64 + 1e-9)
            )
            assert below - 1e-9 <= most <= upto + 1e-9


def test_corrections_are_not_counted_twice(made: Simulation, tmp_path: Path) -> None:
    run = replayed(made, tmp_path / "run", 1.0)
    before = truth_comparison.compare(run, made.truth)
    part = next((run / "examples").glob("*.parquet"))
    table = pq.read_table(part)
    again = table.slice(0, 50)
    index = table.schema.get_field_index("kind")
    kind = table.schema.field("kind")
    again = again.set_column(index, kind, pa.array([1] * 50, pa.int8()))
    pq.write_table(again, run / "examples" / "part-00001.parquet")
    assert truth_comparison.compare(run, made.truth) == before


def test_a_run_gets_it_and_its_report_shows_it(made: Simulation, tmp_path: Path) -> None:
    run = replayed(made, tmp_path / "run", 1.0)
    before = json.loads((run / "metrics.json").read_text())
    assert "Prediction and truth" not in (run / "report.html").read_text()
    done = clickloop("report", "--run", run, "--truth", made.truth)
    assert done.returncode == 0, done.stderr
    after = json.loads((run / "metrics.json").read_text())
    truth = after.pop("truth")
    assert after == before
    assert truth == truth_comparison.compare(run, made.truth)
    assert f"{truth['mean_abs_error']:.4f} on average" in done.stdout
    assert f"{truth['oracle_normalized_entropy']:.4f} is the best" in done.stdout
    assert str(run / "report.html") in done.stdout
    assert "Prediction and truth" in (run / "report.html").read_text()
    again = clickloop("report", "--run", run)
    assert again.stdout.strip() == str(run / "report.html")
    assert "Prediction and truth" in (run / "report.html").read_text()


def test_a_run_without_examples_has_nothing_to_compare(made: Simulation, tmp_path: Path) -> None:
    for log in (made.impressions, made.clicks):
        pq.write_table(pq.read_table(log).slice(0, 0), tmp_path / log.name)
    run = tmp_path / "run"
    told = settings.load(made.config)
    impressions, clicks = (str(tmp_path / log.name) for log in (made.impressions, made.clicks))
    replay(told, impressions, clicks, run)
    found = truth_comparison.add_truth(run, made.truth)
    assert found["examples"] == 0
    assert found["calibration"] is found["mean_abs_error"] is found["normalized_entropy"] is None
    assert found["bins"] == []


def test_files_that_do_not_belong_are_refused(made: Simulation, tmp_path: Path) -> None:
    run = replayed(made, tmp_path / "run", 1.0)
    before = (run / "metrics.json").read_bytes()
    other = simulate.run(simulate.parse_assignments([*SMALL, "seed=9"]), tmp_path / "other")
    short = pq.read_table(made.truth).slice(0, 7900)
    pq.write_table(short, tmp_path / "short.parquet")
    pq.write_table(short.drop_columns(["true_p"]), tmp_path / "columns.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    shifted = short.set_column(1, "ts", pc.add(short["ts"], 10**9))
    pq.write_table(shifted, tmp_path / "shifted.parquet")
    for path, message in (
        (other.truth, r"the impression '\w+' is not there; name the truth.parquet"),
        (tmp_path / "short.parquet", "is not there"),
        (tmp_path / "shifted.parquet", "is not there"),
        (tmp_path / "columns.parquet", "has no column true_p"),
        (tmp_path / "text.parquet", "cannot be read as Parquet"),
        (tmp_path / "none.parquet", "cannot be read as Parquet"),
    ):
        with pytest.raises(DataError, match=message):
            truth_comparison.add_truth(run, path)
    assert (run / "metrics.json").read_bytes() == before
    shutil.rmtree(run / "examples")
    with pytest.raises(DataError, match="no examples here"):
        truth_comparison.add_truth(run, made.truth)
    assert clickloop("report", "--run", run, "--truth", made.truth).returncode == 3
