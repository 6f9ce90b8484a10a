"""The benchmark of the learner: its workload, its roofline, and the document it prints."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deploy import bench_learn, rivals, workload
from deploy.cli import app
from ftrl.learner import Learner
from ftrl.roofline import pass_through
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table import LAYOUTS, home
from tests.learning import learn, of, random_rows

COMPACT = ("rate_ratio", "bytes_a_slot", "load", "collision_rate", "memory", "memory_float32")


def test_cardinalities_are_log_uniform_from_5_to_2_million() -> None:
    sizes = workload.cardinalities()
    assert (len(sizes), sizes[0], sizes[-1]) == (30, 5, 2_000_000)
    steps = np.diff(np.log(sizes))
    assert steps[8:] == pytest.approx(steps[-1], rel=0.02)


@pytest.mark.parametrize("uniform", [False, True])
def test_the_workload_is_seeded(uniform: bool) -> None:
    one, two = (list(workload.chunks(60_000, 1, uniform=uniform)) for _ in range(2))
    assert [len(chunk.label) for chunk in one] == [50_000, 10_000]
    for a, b in zip(one, two, strict=True):
        assert (a.keys == b.keys).all()
        assert (a.label == b.label).all()
    other = next(workload.chunks(50_000, 2, uniform=uniform))
    assert (other.keys != one[0].keys).mean() > 0.5
    assert one[0].keys.all()
    assert 0.02 < one[0].label.mean() < 0.1


def test_fields_share_no_key_and_values_are_as_frequent_as_said() -> None:
    chunk = next(workload.chunks(50_000, 1))
    kinds = [set(column.tolist()) for column in chunk.keys.T]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    counts = np.sort(np.unique(chunk.keys[:, 10], return_counts=True)[1])[::-1]
    # The k-th value has a share of ln((k + 1) / k) / ln(cardinality).
    shares = np.log([2, 3 / 2, 4 / 3]) / np.log(workload.cardinalities()[10])
    assert counts[:3] / 50_000 == pytest.approx(shares, rel=0.1)
    even = next(workload.chunks(50_000, 1, uniform=True))
    assert np.unique(even.keys[:, 0], return_counts=True)[1] == pytest.approx(10_000, rel=0.1)


def test_labels_can_be_learned() -> None:
    learner = Learner(LearnerSettings(), AdmissionSettings())
    for chunk in workload.chunks(100_000, 1):
        bench_learn._learn(learner, chunk)
    rows = len(chunk.label)
    logit = learner.predict(
        np.arange(rows + 1) * 30, chunk.keys.ravel(), np.empty(0), np.zeros(rows)
    )
    assert logit[chunk.label == 1].mean() > logit[chunk.label == 0].mean() + 0.5


@pytest.mark.kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bare_traffic_changes_nothing(layout: str) -> None:
    learner = Learner(of(layout, l1=0), AdmissionSettings())
    rows = random_rows(40, fields=5, features=60, seed=1)
    learn(learner, rows)
    before = learner.slots.tobytes()
    keys = np.array([key for row in rows for key, _ in row.coordinates], np.uint64)
    homes = learner.slots[[int(home(learner.slots, learner.shift, key)) for key in keys]]
    total = pass_through(learner.slots, learner.shift, keys, 5)
    assert total == pytest.approx(float(homes["z"].astype(np.float64).sum()))
    assert learner.slots.tobytes() == before


def test_what_is_on_disk_is_the_workload(tmp_path: Path) -> None:
    path = tmp_path / "examples.arrow"
    bench_learn._write(path, workload.chunks(120_000, 1))
    found = list(bench_learn._read(path, 70_000))
    assert [len(chunk.label) for chunk in found] == [50_000, 20_000]
    for chunk, expected in zip(found, workload.chunks(120_000, 1), strict=False):
        assert (chunk.label == expected.label[: len(chunk.label)]).all()
        assert (chunk.keys == expected.keys[: len(chunk.keys)]).all()


@pytest.mark.parametrize("others", [True, False])
def test_the_document(monkeypatch: pytest.MonkeyPatch, others: bool) -> None:
    monkeypatch.setattr(bench_learn, "ROUNDS", 1)
    monkeypatch.setattr(bench_learn, "RIVER_EXAMPLES", 2000)
    if not others:
        monkeypatch.setattr(rivals, "installed", lambda package: package == "")
    command = ["bench", "learn", "--examples", "100000", "--roofline", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    figures = {entry["name"]: entry for entry in document["figures"]}
    expected = ["kernel_examples_per_s", "roofline_share", "learner_memory"]
    expected += [f"compact_{name}" for name in COMPACT]
    expected += ["examples_per_s"]
    for name, package in (("vowpal_wabbit", "vowpalwabbit"), ("river", "river")):
        if rivals.installed(package):
            expected += [f"{name}_examples_per_s", f"ratio_{name}"]
    assert list(figures) == expected
    assert all(entry["value"] > 0 for entry in figures.values())
    assert figures["kernel_examples_per_s"]["asked"] == 1_200_000
    assert 0 < figures["roofline_share"]["value"] < 1
    assert figures["compact_rate_ratio"]["asked"] == 0.8
    assert figures["compact_bytes_a_slot"]["value"] == 8
    assert 0.6 < figures["compact_load"]["value"] < 0.8
    assert document["sizes"]["examples"] == 100_000
