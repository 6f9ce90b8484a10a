"""The whole loop over files against the oracles of all its parts, row by row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from deploy import settings
from deploy.replay.replay import DEAD_LETTERS, EXAMPLES, LATE_CLICKS, STORE, replay
from deploy.serving.score_file import score_file
from deploy.serving.scorer import Scorer
from deploy.settings import Settings
from deploy.storage import versions as versions_module
from deploy.storage.rocksdb import Store
from streams.errors import ConfigError, DataError
from streams.files.logs import open_log
from tests.oracles.counter import ExactCounter
from tests.oracles.features import FeatureOracle
from tests.oracles.ftrl import Ftrl, Row
from tests.oracles.join import OracleJoin
from tests.support import small_logs
from tests.support.small_logs import SmallLogs


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> SmallLogs:
    return small_logs.write(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def done(
    logs: SmallLogs, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, Path, dict[str, Any]]:
    loaded = settings.load(logs.config)
    out = tmp_path_factory.mktemp("run") / "out"
    return loaded, out, replay(loaded, str(logs.impressions), str(logs.clicks), out)


def joined_by_the_oracle(logs: SmallLogs, loaded: Settings) -> OracleJoin:
    """Merge head by head, then join by brute force."""
    join = loaded.join
    oracle = OracleJoin(
        window=join.window,
        lateness=join.lateness,
        horizon=join.correction_horizon,
        types=join.click_types,
        rate=loaded.sampling.keep_rate,
        seed=loaded.sampling.seed,
        breaker_wait=join.breaker_wait,
        breaker_clicks=join.breaker_clicks,
        breaker_absence=join.breaker_absence,
        breaker_fraction=join.breaker_fraction,
    )
    shown = [{**row, "src_offset": 0} for row in logs.shown]
    clicked = [{**row, "src_offset": 0} for row in logs.clicked]
    while shown or clicked:
        if shown and (not clicked or shown[0]["ts"] <= clicked[0]["ts"]):
            oracle.impression(shown.pop(0))
            if not shown:
                oracle.end("impressions")
        else:
            oracle.click(clicked.pop(0))
            if not clicked:
                oracle.end("clicks")
    return oracle


def test_every_row_label_and_prediction_is_the_oracles(
    logs: SmallLogs, done: tuple[Settings, Path, dict[str, Any]]
) -> None:
    loaded, out, _ = done
    oracle = joined_by_the_oracle(logs, loaded)
    examples = pq.read_table(out / EXAMPLES).to_pylist()
    assert len(examples) == len(oracle.labelled) > 2000
    features = FeatureOracle(loaded.features)
    learner = Ftrl(
        alpha=loaded.learner.alpha,
        beta=loaded.learner.beta,
        l1=loaded.learner.l1,
        counter=ExactCounter(1, 4, 5_000_000),
    )
    for found, expected in zip(examples, oracle.labelled, strict=True):
        for name in ("impression_id", "label", "label_hide", "click_ts", "kind", "src_row"):
            assert found[name] == expected[name], (found, expected)
        values = expected["features"] | {"position": expected["position"]}
        logit = learner.learn(
            Row(
                coordinates=tuple(features.row(values)),
                label=expected["label"],
                offset=expected.get("offset", 0.0),
                weight=expected.get("weight", 1.0),
            )
        )
        assert found["p"] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)


def test_ledger_is_the_oracles_and_counts_bad_rows(
    logs: SmallLogs, done: tuple[Settings, Path, dict[str, Any]]
) -> None:
    loaded, out, document = done
    expected = joined_by_the_oracle(logs, loaded).ledger()
    ledger = document["ledger"]
    assert ledger["positives"] == expected["positives"] > 50
    assert ledger["negatives"] == expected["negatives"]
    assert ledger["duplicate_impressions"] == expected["duplicates"] > 10
    assert ledger["rejected"] == logs.bad_impressions + expected["rejected"]
    assert ledger["open"] == ledger["waiting_clicks"] == 0
    assert ledger["late_clicks"] > 5
    assert ledger["orphan_clicks"] > 3
    assert ledger["impressions"] == len(logs.shown) + logs.bad_impressions
    assert ledger["clicks"] == len(logs.clicked)
    letters = [json.loads(line) for line in (out / DEAD_LETTERS).read_text().splitlines()]
    assert len(letters) == sum(document["rejections"].values())
    assert document["rejections"]["orphan"] == ledger["orphan_clicks"]
    assert sum(x["source"] == "impressions" for x in letters) == ledger["rejected"]
    late = [json.loads(line) for line in (out / LATE_CLICKS).read_text().splitlines()]
    assert len(late) == ledger["late_clicks"]


def test_metrics_follow_from_the_examples(
    done: tuple[Settings, Path, dict[str, Any]],
) -> None:
    _, out, document = done
    table = pq.read_table(out / EXAMPLES)
    y, p = table["label"].to_numpy(), table["p"].to_numpy()
    weight = table["weight"].to_numpy()
    loss = -np.average(np.where(y == 1, np.log(p), np.log1p(-p)), weights=weight)
    rate = np.average(y, weights=weight)
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    assert document["metrics"]["log_loss"] == pytest.approx(loss, rel=1e-9)
    assert document["metrics"]["normalized_entropy"] == pytest.approx(loss / entropy, rel=1e-9)
    assert document["metrics"]["calibration"] == pytest.approx(
        np.average(p, weights=weight) / rate, rel=1e-9
    )
    assert document == json.loads((out / "metrics.json").read_text()) | {
        "metrics": document["metrics"],
        "corrected": document["corrected"],
        **{name: document[name] for name in ("deciles", "curve", "buckets", "run")},
    }
    assert sum(bucket["examples"] for bucket in document["buckets"]) == len(y)
    assert (out / "report.html").stat().st_size > 10_000


def test_versions_are_published_at_the_marks(
    done: tuple[Settings, Path, dict[str, Any]],
) -> None:
    loaded, out, document = done
    examples = pq.read_table(out / EXAMPLES)
    ts = examples["ts"].to_numpy()
    every = loaded.snapshots.every
    with Store(out / STORE, read_only=True) as store:
        versions = list(versions_module.manifests(store))
    assert [m.summary() for m in versions] == document["snapshots"]
    marks = sorted({int(t) // every * every for t in np.maximum.accumulate(ts)})[1:]
    assert [m.ts for m in versions] == [*marks, None]
    assert [m.parent for m in versions] == [None, *range(1, len(versions))]
    for manifest in versions[:-1]:
        assert manifest.ts is not None
        before = int(np.argmax(ts >= manifest.ts))
        assert manifest.cut.examples == before
        assert manifest.cut.place == (0, examples["src_row"][before - 1].as_py())
    assert versions[-1].cut.examples == len(ts)


def test_scores_agree_with_the_learner_at_the_cut(
    logs: SmallLogs, done: tuple[Settings, Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The first example after a mark was predicted by exactly the weights the version holds."""
    loaded, out, _ = done
    examples = {row["src_row"]: row for row in pq.read_table(out / EXAMPLES).to_pylist()}
    order = list(examples)
    rows = {
        row["src_row"]: index
        for index, row in enumerate(sorted(logs.shown, key=lambda row: row["src_row"]))
    }
    (chunk,) = open_log(logs.impressions, loaded.events, "impressions")
    with Store(out / STORE, read_only=True) as store:
        for manifest in list(versions_module.manifests(store))[:-1]:
            scorer = Scorer(*versions_module.load(store, manifest.version))
            place = order[manifest.cut.examples]
            batch = chunk.rows.slice(rows[place], 1)
            assert batch.column("src_row").to_pylist() == [place]
            coordinates = FeatureOracle(loaded.features).row(
                {n.removeprefix("features."): v for n, v in batch.to_pylist()[0].items()}
                | {"position": batch.column("position")[0].as_py()}
            )
            bound = sum(abs(x) for _, x in coordinates) * 2.0**-13 + 1e-5
            p = examples[place]["p"]
            logit = scorer.logits(batch, as_logged=True)[0]
            assert abs(logit - np.log(p / (1 - p))) <= bound
    scored = score_file(out / STORE, str(logs.impressions), tmp_path / "scores.csv")
    assert scored.rows == len(logs.shown)
    assert sum(scored.rejected.values()) == logs.bad_impressions


def test_serve_as_replaces_the_position_unless_as_logged(
    logs: SmallLogs, done: tuple[Settings, Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, out, _ = done
    outputs = {}
    for ending in ("parquet", "ndjson", "csv"):
        for as_logged in (False, True):
            path = tmp_path / f"{as_logged}.{ending}"
            score_file(out / STORE, str(logs.impressions), path, as_logged=as_logged)
            outputs[ending, as_logged] = path
    served = pq.read_table(outputs["parquet", False]).to_pylist()
    logged = pq.read_table(outputs["parquet", True]).to_pylist()
    by_position: dict[bool, set[bool]] = {True: set(), False: set()}
    for row, a, b in zip(logs.shown, served, logged, strict=True):
        by_position[row["position"] == 0].add(a["logit"] == b["logit"])
    assert by_position[True] == {True}
    assert False in by_position[False]
    lines = outputs["ndjson", True].read_text().splitlines()
    assert [json.loads(line) for line in lines] == logged
    assert len(outputs["csv", True].read_text().splitlines()) == len(logged) + 1


def test_folder_in_use_is_refused_untouched(logs: SmallLogs, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    loaded = settings.load(logs.config)
    with pytest.raises(ConfigError, match="not an empty folder; name another"):
        replay(loaded, str(logs.impressions), str(logs.clicks), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_was_learned_before_damage_stays_usable(logs: SmallLogs, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.ndjson").write_bytes(logs.impressions.read_bytes())
    (folder / "b.parquet").write_bytes(b"PAR1 but not really")
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"b\.parquet"):
        replay(settings.load(logs.config), str(folder), str(logs.clicks), out)
    document = json.loads((out / "metrics.json").read_text())
    assert document["metrics"]["examples"] > 2000
    with Store(out / STORE, read_only=True) as store:
        assert (
            versions_module.find_manifest(store, None).cut.examples
            == document["metrics"]["examples"]
        )
    assert pq.read_table(out / EXAMPLES).num_rows == document["metrics"]["examples"]


def test_empty_logs_are_a_run_without_examples(logs: SmallLogs, tmp_path: Path) -> None:
    empty = tmp_path / "empty.ndjson"
    empty.touch()
    document = replay(settings.load(logs.config), str(empty), str(empty), tmp_path / "out")
    assert document["ledger"]["impressions"] == 0
    assert document["metrics"]["normalized_entropy"] is None
    assert pq.read_table(tmp_path / "out" / EXAMPLES).num_rows == 0
