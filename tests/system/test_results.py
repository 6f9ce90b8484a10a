"""The arithmetic of the tables of results, and that the page is of the command."""

import math

import numpy as np
import pytest

from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from tests.oracles.ftrl import Row
from tests.support.learning import arrays, counter, learn, random_rows
from tests.system.results import __main__ as command
from tests.system.results import judging, logs, tables
from tests.system.results.admitting import exactly, false_admissions
from tests.system.results.descent import descend

ROWS = [
    Row(tuple(dict.fromkeys(row.coordinates)), row.label)
    for row in random_rows(600, fields=4, features=120, seed=5)
]


@pytest.fixture(scope="module")
def log() -> logs.Log:
    found = arrays(ROWS)
    settings = LearnerSettings(layout="float64")
    columns = (found["indptr"], found["keys"], found["values"], found["label"])
    return logs.Log("a log", settings, *columns)


@pytest.mark.parametrize("seed", range(30))
def test_auc_loss_counts_pairs_in_the_wrong_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat([1, 0], rng.integers(1, 12, 2))).astype(np.int8)
    logit = rng.integers(-3, 4, len(label)).astype(np.float64)  # many are equal
    pairs = [(p, n) for p in logit[label == 1] for n in logit[label == 0]]
    wrong = sum(0.5 if p == n else float(p < n) for p, n in pairs)
    assert judging.auc_loss(logit, label) == pytest.approx(wrong / len(pairs))


def test_entropy_and_calibration() -> None:
    label = np.array([1, 0, 0, 0], np.int8)
    constant = judging.judge(np.full(4, math.log(1 / 3)), label)
    assert constant == pytest.approx((1, 0.5, 1))
    p = np.array([0.5, 0.25, 0.25, 0.2])
    loss = -(math.log(0.5) + 2 * math.log(0.75) + math.log(0.8)) / 4
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    found = judging.judge(np.log(p / (1 - p)), label)
    assert found == pytest.approx((loss / entropy, 0, 1.2))
    assert judging.judge(np.array([-800.0, 800]), np.array([0, 1], np.int8)).entropy < 1e-9


def test_what_is_saved() -> None:
    assert judging.detriment(1.02, 1.0) == pytest.approx(0.02)
    assert judging.saved(30, 120) == 0.75
    learner = Learner(LearnerSettings(), AdmissionSettings())
    learn(learner, ROWS)
    stats = learner.stats()
    assert judging.memory(stats, "float32", 1000) == stats.features_admitted * 24 + 1000
    assert judging.memory(stats, "q2.13", 0) == stats.features_admitted * 12


@pytest.mark.parametrize("admit_after", [0, 1, 2, 5])
@pytest.mark.parametrize(("generations", "every"), [(1, 10**9), (1, 100), (2, 90), (3, 40)])
def test_exact_counts(log: logs.Log, admit_after: int, generations: int, every: int) -> None:
    """Sightings are dropped that a counter which forgets as the filters do holds back."""
    settings = AdmissionSettings(
        kind="bloom",
        admit_after=admit_after,
        generations=generations,
        rotate_every=every,
        memory=0.01,
    )
    assert log.features == len(set(log.keys.tolist()))
    exact, exactly_counted, admitted = exactly(log, settings), counter(settings), set[int]()
    for i, row in enumerate(ROWS):
        exactly_counted.start_example()
        for key, _ in row.coordinates:
            if key not in admitted and exactly_counted.admits(key):
                admitted.add(key)
        kept = exact.keys[exact.indptr[i] : exact.indptr[i + 1]].tolist()
        assert kept == [key for key, _ in row.coordinates if key in admitted]
    assert 10 < len(admitted) <= log.features
    found = logs.learn(exact, log.learner).stats.features_admitted
    assert found == len(admitted)


def test_filters_are_weighed_by_themselves(log: logs.Log) -> None:
    assert logs.learn(log, log.learner).filters == 0
    admission = AdmissionSettings(kind="bloom", generations=1, memory=1)
    assert logs.learn(log, log.learner, admission).filters == pytest.approx(2**20, rel=0.001)


@pytest.mark.parametrize("admit_after", [1, 3])
def test_false_admissions_are_those_of_the_filter(log: logs.Log, admit_after: int) -> None:
    """A filter far too small lets features in, one with room none."""
    small, wide = (
        AdmissionSettings(kind="bloom", admit_after=admit_after, generations=1, memory=memory)
        for memory in (0.0003, 1)
    )
    assert false_admissions(log, wide) == (0, 0)
    _, measured = false_admissions(log, small)
    assert measured > 0.02
    exact = logs.learn(exactly(log, small), log.learner).stats.features_admitted
    assert logs.learn(log, log.learner, small).stats.features_admitted >= exact


def test_descent_is_ftrl_without_penalties(log: logs.Log) -> None:
    """The two are the same algorithm then (McMahan et al., KDD 2013, section 3)."""
    settings = LearnerSettings(layout="float64", alpha=0.1, l1=0)
    logit, nonzero = descend(log, 0.1, per_coordinate=True)
    np.testing.assert_allclose(logit, logs.learn(log, settings).logit, rtol=1e-9, atol=1e-9)
    assert nonzero == log.features


def test_a_global_rate_worked_by_hand() -> None:
    keys = np.array([7, 7, 8], np.uint64)
    label = np.array([1, 0], np.int8)
    log = logs.Log("", LearnerSettings(), np.array([0, 1, 3]), keys, np.empty(0), label)
    logit, nonzero = descend(log, 0.5, per_coordinate=False)
    assert logit.tolist() == [0, 0.5]  # 0.5 · 1/2 on the bias and on the feature
    assert nonzero == 2


def test_subsampled_negatives_teach_nothing(log: logs.Log) -> None:
    """Where none is kept only positives are learned from; all are judged."""
    rows = tables.subsampling(log).rows
    assert [row[0] for row in rows] == ["1", "0.3", "0.1", "0.03"]
    shares = [float(row[1].rstrip("%")) / 100 for row in rows]
    positive = log.label.mean()
    for share, r in zip(shares, (1, 0.3, 0.1, 0.03), strict=True):
        assert share == pytest.approx(positive + (1 - positive) * r, abs=0.06)
    assert rows[0][3] == "+0.00%"


def test_a_table_is_markdown() -> None:
    table = tables.Table(("what", "how much"), [("this", "1")], ("A note.",))
    text = "| what | how much |\n| --- | ---: |\n| this | 1 |\n\nA note."
    assert table.markdown() == text
    assert tables.share(0.00123, 3) == "+0.123%"


def test_the_page_is_the_commands() -> None:
    page = command.RESULTS.read_text(encoding="utf-8")
    assert page.startswith(f"# Results\n\nWritten by `{command.COMMAND}`")
    for name in logs.LOGS:
        assert f"\n{command.heading(name)}\n" in page
    assert "\n## Beside Vowpal Wabbit\n" in page
    for title in tables.TABLES:
        assert page.count(f"\n### {title}\n") == len(logs.LOGS)


def table_of(section: str, title: str) -> dict[str, list[float]]:
    """A table on the page: figures by the first column, in percent where they are shares."""
    page = command.RESULTS.read_text(encoding="utf-8")
    part = page.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    part = part.split(f"\n{title}\n", 1)[1] if title else part
    lines = [line.strip("|").split("|") for line in part.split("\n### ")[0].splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines if len(line) > 2][2:]
    return {
        name: [float(cell.replace(",", "").rstrip("%")) for cell in row if cell]
        for name, *row in cells
    }


@pytest.mark.parametrize(("n", "least", "most"), [(2, 70, 0.1), (5, 85, 0.12)])
def test_admission_saves_what_it_is_for(n: int, least: float, most: float) -> None:
    """Net of the filter's bytes, at hardly any cost, and as exactly as its estimate says."""
    rows = table_of("Trivago, crosses", "### Admission")
    _, _, saved, _, cost, estimated, measured, _ = rows[f"Bloom filter, n = {n}"]
    assert saved >= least
    assert cost <= most
    assert abs(cost - rows[f"exact counter, n = {n}"][4]) <= 0.02
    assert 0.8 <= estimated / measured <= 1.2


def test_never_worse_than_vowpal_wabbit() -> None:
    rows = table_of("Beside Vowpal Wabbit", "")
    assert len(rows) == 6
    for _, _, alone, _, _, _, _, behind_admission in rows.values():
        assert alone <= 0.1
        assert behind_admission <= -1
