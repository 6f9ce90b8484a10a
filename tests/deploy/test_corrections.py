"""Late clicks that correct their label, through the whole loop, against the oracles."""

import functools
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deploy import settings
from deploy.replay import inputs
from deploy.replay.replay import EXAMPLES, replay
from streams.files.logs import open_log
from tests.deploy.test_replay import joined_by_the_oracle
from tests.oracles.counter import ExactCounter
from tests.oracles.features import FeatureOracle
from tests.oracles.ftrl import Ftrl, Row
from tests.support import small_logs


@pytest.mark.parametrize(
    ("window", "every", "block_rows"),
    [("10m", "20m", 5000), ("2m", "0s", 500)],  # in the second batches span more than W + H
)
def test_corrected_rows_predictions_and_metrics_are_the_oracles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: str, every: str, block_rows: int
) -> None:
    monkeypatch.setattr(inputs, "open_log", functools.partial(open_log, block_rows=block_rows))
    told = small_logs.EVERYTHING_ON.replace('every = "20m"', f'every = "{every}"')
    told = told.replace('window = "10m"', f'window = "{window}"')
    logs = small_logs.write(tmp_path / "logs", settings=told)
    loaded = settings.load(logs.config)
    document = replay(loaded, str(logs.impressions), str(logs.clicks), tmp_path / "out")
    oracle = joined_by_the_oracle(logs, loaded)
    examples = pq.read_table(tmp_path / "out" / EXAMPLES).to_pylist()
    assert len(examples) == len(oracle.labelled)
    features = FeatureOracle(loaded.features)
    learner = Ftrl(
        alpha=loaded.learner.alpha, l1=loaded.learner.l1, counter=ExactCounter(1, 4, 300)
    )
    corrected: dict[int, tuple[int, float, float]] = {}  # place: label, logit, weight
    corrections = 0
    for found, expected in zip(examples, oracle.labelled, strict=True):
        for name in ("impression_id", "label", "kind", "kept", "keep_rate", "src_row"):
            assert found[name] == expected[name], (found, expected)
        weight, rate = expected.get("weight", 1.0), expected["keep_rate"]
        is_correction = expected["kind"] == 1
        coordinates = features.row(expected["features"] | {"position": expected["position"]})
        logit = learner.learn(
            Row(
                coordinates=tuple(coordinates),
                label=expected["label"],
                offset=expected.get("offset", 0.0),
                weight=weight,
                rate=rate,
                correction=is_correction,
                kept=expected["kept"],
            )
        )
        assert found["p"] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-4)
        place = expected["src_row"]
        own = math.log(found["p"] / (1 - found["p"]))
        if is_correction:
            corrections += 1
            at = corrected[place][1] if expected["kept"] else own
            assert expected["kept"] == (place in corrected)
            corrected[place] = (1, at, weight)
        else:
            corrected[place] = (expected["label"], own, weight / rate)
    assert corrections == document["ledger"]["corrections"] > 5
    total = sum(weight for _, _, weight in corrected.values())
    ctr = sum(label * weight for label, _, weight in corrected.values()) / total
    mean = sum(weight / (1 + math.exp(-logit)) for _, logit, weight in corrected.values()) / total
    metrics = document["corrected"]
    assert metrics["examples"] == len(corrected)
    assert metrics["ctr"] == pytest.approx(ctr, rel=1e-9)
    assert metrics["calibration"] == pytest.approx(mean / ctr, rel=1e-6)
    assert document["metrics"]["ctr"] < metrics["ctr"]
