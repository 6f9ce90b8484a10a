"""Subsampling and corrections leave the expected gradient what it is on the full stream.

The real loop joins and learns, under many seeds of the sampling hash. Every prediction stays at
the row's own `offset` (λ1 keeps all weights at 0, and β the bias next to it), so that a
coordinate's z is the sum of its gradients.
"""

import json
import math
import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from deploy import settings
from deploy.replay.inputs import Inputs
from deploy.replay.pipeline import Pipeline
from deploy.settings import Settings
from streams.compute.arrays import F64
from streams.merge import MergedStep
from tests.support.trivago import changed

CONFIG = """
[join]
window = "2m"
correction_horizon = "30m"
[learner]
alpha = 0.001
beta = 1e6
l1 = 1e6
layout = "float64"
[snapshots]
every = "0s"
[features.fields]
ad = { kind = "categorical" }
"""
CORRECTED = settings.parse(tomllib.loads(CONFIG), "here")
# All that comes within W + H labels, and nothing is left to correct.
WAITED = changed(CORRECTED, join__window=32 * 60_000, join__correction_horizon=0)
ROWS, ADS, SEEDS, RATE = 5000, 4, 500, 0.1

Batches = list[pa.RecordBatch]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[MergedStep]:
    """Four hours of traffic, clicked with the probability that `offset` says, half of it late."""
    rng = np.random.default_rng(11)
    shown: list[dict[str, Any]] = []
    clicked: list[dict[str, Any]] = []
    for number, ts in enumerate(1_600_000_000_000 + 3_000 * np.arange(ROWS)):
        p = rng.uniform(0.02, 0.2)
        row = {"impression_id": f"i{number}", "ts": int(ts), "offset": math.log(p / (1 - p))}
        row |= {"features": {"ad": f"ad{number % ADS}"}, "weight": rng.choice([0.5, 1.0, 2.0])}
        shown.append(row)
        if rng.random() < p:
            late = int(ts) + int(rng.exponential(240_000))
            clicked.append({"impression_id": row["impression_id"], "ts": late})
    clicked.sort(key=lambda click: click["ts"])
    folder = tmp_path_factory.mktemp("logs")
    paths = []
    for name, rows in (("impressions", shown), ("clicks", clicked)):
        paths.append(folder / f"{name}.ndjson")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    watermarks = Pipeline(CORRECTED, on_mark=print).joiner.watermarks
    return list(Inputs(CORRECTED, str(paths[0]), str(paths[1])).steps(watermarks))


def joined(steps: list[MergedStep], values: Settings) -> Batches:
    """The labelled examples, corrections among them."""
    pipeline = Pipeline(values, on_mark=print)
    return [batch for step in steps for batch in pipeline.join(step).labelled]


def gradients(batches: Batches) -> F64:
    """Their sums, as learned: of each ad, and of the constant coordinate."""
    pipeline = Pipeline(WAITED, on_mark=print)
    for batch in batches:
        for predicted in pipeline.train(batch):
            offset: F64 = predicted.batch.column("offset").to_numpy()
            np.testing.assert_allclose(predicted.p, 1 / (1 + np.exp(-offset)), rtol=1e-5)
    state = pipeline.learner.state()
    return np.append(np.asarray(state["z"]), float(state["bias_z"]))


def plain_difference(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The positive's gradient minus the negative's, -x, with the negative's weight ω₀/r."""
    taught = pc.and_(pc.equal(batch.column("kind"), 1), batch.column("kept"))
    weight = pc.divide(batch.column("weight"), batch.column("keep_rate"))
    batch = with_column(batch, "weight", pc.if_else(taught, weight, batch.column("weight")))
    return with_column(batch, "keep_rate", pc.if_else(taught, 1.0, batch.column("keep_rate")))


def nothing_taken_back(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The positive's gradient, whether or not the negative was learned from."""
    first = pc.equal(batch.column("kind"), 0)
    return with_column(batch, "kept", pc.and_(batch.column("kept"), first))


def no_corrections(batch: pa.RecordBatch) -> pa.RecordBatch:
    """First labels alone."""
    return batch.filter(pc.equal(batch.column("kind"), 0))


def with_column(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    index = batch.schema.get_field_index(name)
    return batch.set_column(index, batch.schema.field(index), column)


def as_joined(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


@pytest.fixture(scope="module")
def sampled(steps: list[MergedStep]) -> list[Batches]:
    """The examples under each seed of the sampling hash."""
    return [
        joined(steps, changed(CORRECTED, sampling__keep_rate=RATE, sampling__seed=seed))
        for seed in range(SEEDS)
    ]


def distance(
    rewrite: Callable[[pa.RecordBatch], pa.RecordBatch],
    steps: list[MergedStep],
    sampled: list[Batches],
) -> F64:
    """How far the mean over the seeds is from the full stream, in standard errors."""
    full = gradients(joined(steps, WAITED))
    found = np.stack([gradients([rewrite(batch) for batch in batches]) for batches in sampled])
    assert found.shape == (SEEDS, ADS + 1)
    error = found.std(axis=0, ddof=1) / SEEDS**0.5
    far: F64 = np.abs(found.mean(axis=0) - full) / error
    print(f"{rewrite.__name__}: {found.mean(axis=0)}, full {full}, {far} standard errors apart")
    return far


def test_corrections_without_sampling_give_the_same_gradient(steps: list[MergedStep]) -> None:
    batches = joined(steps, CORRECTED)
    assert sum(pc.sum(batch.column("kind")).as_py() for batch in batches) > 200
    np.testing.assert_allclose(gradients(batches), gradients(joined(steps, WAITED)), atol=0.01)


def test_under_sampling_the_gradient_is_right_on_average(
    steps: list[MergedStep], sampled: list[Batches]
) -> None:
    assert distance(as_joined, steps, sampled).max() < 3.5


@pytest.mark.parametrize("wrong", [plain_difference, nothing_taken_back, no_corrections])
def test_this_would_notice_a_wrong_correction(
    wrong: Callable[[pa.RecordBatch], pa.RecordBatch],
    steps: list[MergedStep],
    sampled: list[Batches],
) -> None:
    assert distance(wrong, steps, sampled).min() > 10
