"""The benchmark of the learner: its workload, its roofline, and the document it prints."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deploy.bench import baselines, comparison, learn_workload
from deploy.bench import learn as learn_module
from deploy.bench.roofline import outside, pass_through
from deploy.cli.app import app
from ftrl.admission.bloom import LINE_WORDS, line_of
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.layout import FIXED, LAYOUTS, columns, home
from tests.support import trivago
from tests.support.learning import learn, of, random_rows

COMPACT = ("rate_ratio", "bytes_a_slot", "load", "collision_rate", "memory", "memory_float32")


def test_cardinalities_are_log_uniform_from_5_to_2_million() -> None:
    sizes = learn_workload.cardinalities()
    assert (len(sizes), sizes[0], sizes[-1]) == (30, 5, 2_000_000)
    steps = np.diff(np.log(sizes))
    assert steps[8:] == pytest.approx(steps[-1], rel=0.02)


@pytest.mark.parametrize("uniform", [False, True])
def test_the_workload_is_seeded(uniform: bool) -> None:
    one, two = (list(learn_workload.chunks(60_000, 1, uniform=uniform)) for _ in range(2))
    assert [len(chunk.label) for chunk in one] == [50_000, 10_000]
    for a, b in zip(one, two, strict=True):
        assert (a.keys == b.keys).all()
        assert (a.label == b.label).all()
    other = next(learn_workload.chunks(50_000, 2, uniform=uniform))
    assert (other.keys != one[0].keys).mean() > 0.5
    assert one[0].keys.all()
    assert 0.02 < one[0].label.mean() < 0.1


def test_fields_share_no_key_and_values_are_as_frequent_as_said() -> None:
    chunk = next(learn_workload.chunks(50_000, 1))
    kinds = [set(column.tolist()) for column in chunk.keys.T]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    counts = np.sort(np.unique(chunk.keys[:, 10], return_counts=True)[1])[::-1]
    # The k-th value has a share of ln((k + 1) / k) / ln(cardinality).
    shares = np.log([2, 3 / 2, 4 / 3]) / np.log(learn_workload.cardinalities()[10])
    assert counts[:3] / 50_000 == pytest.approx(shares, rel=0.1)
    even = next(learn_workload.chunks(50_000, 1, uniform=True))
    assert np.unique(even.keys[:, 0], return_counts=True)[1] == pytest.approx(10_000, rel=0.1)


def test_labels_can_be_learned() -> None:
    learner = Learner(LearnerSettings(), AdmissionSettings())
    for part in learn_module.rows_of(learn_workload.chunks(100_000, 1)):
        comparison.learn(learner, part)
    logit = learner.predict(part.indptr, part.keys, np.empty(0), np.zeros(len(part.label)))
    assert logit[part.label == 1].mean() > logit[part.label == 0].mean() + 0.5


@pytest.mark.kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bare_traffic_changes_nothing(layout: str) -> None:
    learner = Learner(of(layout, l1=0), AdmissionSettings(kind="bloom", memory=1))
    rows = random_rows(40, fields=5, features=60, seed=1)
    learn(learner, rows)
    keys = np.array([key for row in rows for key, _ in row.coordinates], np.uint64)
    slots, shift, filters = learner.slots, learner.shift, learner.admission
    absent, counts = np.empty(len(keys), np.uint8), np.zeros(len(slots), np.uint8)
    outside(slots, shift, keys, 2, counts, absent)
    held = set(columns(slots)[0].tolist())
    before = [keys[:i].tolist().count(key) for i, key in enumerate(keys)]
    if layout != FIXED:  # whose keys are the least of those that share a slot
        assert absent.tolist() == [
            key not in held or seen < 2 for key, seen in zip(keys.tolist(), before, strict=True)
        ]
    assert 0 < absent.sum() < len(keys)
    touched = np.arange(len(slots) // 64, dtype=np.uint64)
    memory = [part.tobytes() for part in (slots, touched, filters.words)]
    cells = slots.view(np.uint64)
    size = len(cells) // len(slots)
    read = [int(cells[int(home(slots, shift, key)) * size + size // 2]) for key in keys]
    for key in keys[absent == 1]:
        line = line_of(filters.rules.lines, key) * filters.rules.generations
        for generation in range(filters.rules.generations):
            read.append(int(filters.words[(line + generation) * LINE_WORDS]))
    traffic = slots, touched, shift, filters.words, filters.rules, keys, absent
    assert pass_through(*traffic, 5, cells, np.uint64(0)) == sum(read) % 2**64
    assert memory == [part.tobytes() for part in (slots, touched, filters.words)]


def test_what_is_on_disk_is_the_workload(tmp_path: Path) -> None:
    path = tmp_path / "examples.arrow"
    comparison.write(path, learn_module.rows_of(learn_workload.chunks(120_000, 1)))
    found = list(comparison.read(path, 70_000))
    assert [len(part.label) for part in found] == [50_000, 20_000]
    for part, expected in zip(found, learn_workload.chunks(120_000, 1), strict=False):
        rows = len(part.label)
        assert (part.label == expected.label[:rows]).all()
        assert part.indptr.tolist() == list(range(0, 30 * rows + 1, 30))
        assert (part.keys == expected.keys[:rows].ravel()).all()


def rows_of(count: int) -> baselines.Rows:
    """Examples of three features and one of none, labels that the first feature tells."""
    keys = np.array([1 + i % 2 if j == 0 else 10 + j for i in range(count) for j in range(3)])
    indptr = np.append(np.arange(count + 1) * 3, count * 3)
    return baselines.Rows(indptr, keys.astype(np.uint64), np.append(np.arange(count) % 2, 0))


@pytest.mark.parametrize("name", ["vowpalwabbit", "river"])
def test_others_learn_what_they_are_told(name: str, tmp_path: Path) -> None:
    if not baselines.installed(name):
        pytest.skip(f"{name} is not installed (the dev extra)")
    rows = rows_of(2000)
    assert rows.lists()[-2:] == [[2, 11, 12], []]
    other: baselines.Vowpal | baselines.River
    other = (
        baselines.River(tmp_path, rows) if name == "river" else baselines.Vowpal(tmp_path, [rows])
    )
    found = other.learned(1500)
    assert len(found.logit) == 1500
    assert found.logit[0] == 0
    assert (np.sign(found.logit[1000:]) == 2 * rows.label[1000:1500] - 1).all()
    assert found.memory > 1000
    assert len(other.learned(3000).logit) == 2001
    ours = Learner(LearnerSettings(), AdmissionSettings())
    expected = comparison.learn(ours, rows)[:1500]
    assert found.logit == pytest.approx(expected, abs=0.5 if name == "river" else 0.1)


def names(prefix: str, river: int) -> list[str]:
    """The figures of all learners, in order; river: how many examples it is to learn from."""
    quality = ["normalized_entropy", "auc"]
    expected = ["examples_per_s", *quality, "learner_memory"]
    for name, package in (("vowpal_wabbit", "vowpalwabbit"), ("river", "river")):
        if baselines.installed(package):
            expected += [f"{name}_examples_per_s", f"ratio_{name}"]
            expected += [f"{name}_{what}" for what in (*quality, "memory")]
    if baselines.installed("river") and river:
        expected += [f"beside_river_{what}" for what in quality]
    return [prefix + name for name in expected]


@pytest.mark.slow
@pytest.mark.parametrize("others", [True, False])
def test_the_document(monkeypatch: pytest.MonkeyPatch, others: bool) -> None:
    for module in (learn_module, comparison):
        monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(comparison, "RIVER_EXAMPLES", 2000)
    monkeypatch.delenv("CLICKLOOP_TEST_DATA", raising=False)
    if not others:
        monkeypatch.setattr(baselines, "installed", lambda package: package == "")
    command = ["bench", "learn", "--examples", "100000", "--roofline", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    figures = {entry["name"]: entry for entry in document["figures"]}
    expected = ["kernel_examples_per_s", "roofline_share"]
    expected += [f"compact_{name}" for name in COMPACT]
    expected += ["threads_ratio", "threads_most", "threads_ne_difference", "threads"]
    assert list(figures) == expected + names("", 2000)
    assert figures["threads_ne_difference"].pop("value") == 0
    for name, entry in figures.items():
        # A slope between two short runs, with others beside it, may even fall.
        slope = name.startswith("ratio_") or name.endswith("examples_per_s")
        assert entry.get("value", 1) > 0 or slope, name
    assert figures["kernel_examples_per_s"]["value"] > 0
    assert figures["threads_ratio"]["asked"] == 1.6
    assert document["sizes"]["threads_from_disk"] == len(os.sched_getaffinity(0))
    assert figures["kernel_examples_per_s"]["asked"] == 1_200_000
    assert 0 < figures["roofline_share"]["value"] < 1
    assert figures["compact_rate_ratio"]["asked"] == 0.8
    assert figures["compact_bytes_a_slot"]["value"] == 8
    assert 0.6 < figures["compact_load"]["value"] < 0.8
    assert document["sizes"]["examples"] == 100_000
    for figure in figures.values():
        if figure["name"].endswith("auc"):
            assert 0.5 < figure["value"] < 0.9


@pytest.mark.usefixtures("real_logs")
def test_real_logs_have_figures_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(comparison, "ROUNDS", 1)
    monkeypatch.setattr(comparison, "RIVER_EXAMPLES", 400)
    data = tmp_path / "data" / "trivago"
    for path in trivago.write_part(data, 0, 4000):
        (data / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    figures = learn_module._on_trivago(tmp_path / "bench", data.parent, 1)
    assert [figure["name"] for figure in figures] == names("trivago_", 400)
    assert all(figure["asked"] is None for figure in figures)
    assert learn_module._on_trivago(tmp_path / "none", tmp_path, 1) == []
