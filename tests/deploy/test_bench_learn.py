"""The benchmark of the learner: it prints its document, and its roofline changes nothing."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deploy.bench import baselines, comparison
from deploy.bench import learn as learn_module
from deploy.bench.roofline import outside, pass_through
from deploy.cli.app import app
from ftrl.admission.bloom import LINE_WORDS, line_of
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings
from ftrl.table.layout import FIXED, LAYOUTS, NO_AGES, TableArrays, columns, home
from tests.support import trivago
from tests.support.learning import learn, of, random_rows

COMPACT = ("rate_ratio", "bytes_a_slot", "load", "collision_rate", "memory", "memory_float32")


@pytest.mark.kernel
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_bare_traffic_changes_nothing(layout: str) -> None:
    learner = Learner(of(layout, l1=0), AdmissionSettings(kind="bloom", memory=1))
    rows = random_rows(40, fields=5, features=60, seed=1)
    learn(learner, rows)
    keys = np.array([key for row in rows for key, _ in row.coordinates], np.uint64)
    slots, homes, filters = learner.slots, learner.homes, learner.admission
    absent, counts = np.empty(len(keys), np.uint8), np.zeros(len(slots), np.uint8)
    outside(slots, homes, keys, 2, counts, absent)
    held = set(columns(slots)[0].tolist())
    before = [keys[:i].tolist().count(key) for i, key in enumerate(keys)]
    if layout != FIXED:  # whose keys are the least of those that share a slot
        assert absent.tolist() == [
            key not in held or seen < 2 for key, seen in zip(keys.tolist(), before, strict=True)
        ]
    assert 0 < absent.sum() < len(keys)
    touched = np.arange(len(slots) // 64, dtype=np.uint64)
    table = TableArrays(slots, touched, NO_AGES, homes)
    memory = [part.tobytes() for part in (slots, touched, filters.words)]
    cells = slots.view(np.uint64)
    size = len(cells) // len(slots)
    read = [int(cells[int(home(slots, homes, key)) * size + size // 2]) for key in keys]
    for key in keys[absent == 1]:
        line = line_of(filters.rules.lines, key) * filters.rules.generations
        for generation in range(filters.rules.generations):
            read.append(int(filters.words[(line + generation) * LINE_WORDS]))
    total = pass_through(table, filters.filters(), keys, absent, 5, cells, np.uint64(0))
    assert total == sum(read) % 2**64
    assert memory == [part.tobytes() for part in (slots, touched, filters.words)]


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
    assert figures["kernel_examples_per_s"]["value"] > 0
    assert document["sizes"]["examples"] == 100_000


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
