"""The learn worker on a real broker: every example that counts, exactly once."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy import settings
from tests import ROOT
from tests.support import small_logs
from tests.support.labelled_logs import LabelledLog, labelled_logs
from tests.support.waiting import PATIENCE_S, eventually
from tests.system.kafka.topics import committed, create, fill, unique
from tests.system.kafka.workers.learning import ANY, LearnProcess, answer, state

CONFIG = (
    small_logs.FORGETFUL.replace('every = "20m"', 'every = "20m"\ncheckpoint_every = 150')
    + '\n[worker]\nsave_every = "1s"\n'
)


@dataclass(frozen=True)
class Case:
    """A labelled topic on the broker, and what is to be learned from it."""

    address: str
    config: Path
    topic: str
    logs: list[LabelledLog]

    def learner(self, folder: Path, **options: Any) -> LearnProcess:
        """A worker in a group of its own, so that it waits for no dead member."""
        folder.mkdir(exist_ok=True)
        told = {"config": str(self.config), "topic": self.topic, "group": unique("learn")}
        return LearnProcess(self.address, folder, **{**told, **options})

    @property
    def expected(self) -> list[list[Any]]:
        """Every example that counts, partition after partition."""
        return [line for number, log in enumerate(self.logs) for line in log.audit(number)]


def made(address: str, folder: Path, partitions: int) -> Case:
    """Logs with claims in their middle and void blocks, on a new topic."""
    logs = small_logs.write(folder, settings=CONFIG)
    labelled = labelled_logs(settings.load(logs.config), logs, partitions)
    assert all(log.void_rows for log in labelled)
    assert any(row["kind"] for log in labelled for row in log.examples)
    topic = unique("labelled")
    create(address, topic, partitions=partitions)
    for number, log in enumerate(labelled):
        messages = [(each.value, {"clickloop": each.header}) for each in log.messages]
        fill(address, topic, number, messages)
    return Case(address, logs.config, topic, labelled)


@pytest.fixture(scope="module")
def one(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """One partition."""
    return made(kafka, tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="module")
def two(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two partitions."""
    return made(kafka, tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module")
def straight(one: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state of a learner of one partition that was never killed."""
    folder = tmp_path_factory.mktemp("straight")
    with one.learner(folder) as worker:
        worker.until_ready()
        worker.stop()
        assert worker.trained() == one.expected
    return state(folder / "store")


def test_stopped_in_the_middle_it_comes_to_the_same_weights(
    one: Case, straight: dict[str, Any], tmp_path: Path
) -> None:
    for _ in range(2):
        with one.learner(tmp_path, slow_s=0.1) as worker:
            before = len(worker.trained())
            worker.until_more_than(before)
            worker.stop()
            assert before < len(worker.trained()) < len(one.expected)
    with one.learner(tmp_path) as worker:
        worker.until_ready()
        worker.stop()
        assert worker.trained() == one.expected
    assert state(tmp_path / "store") == straight


def test_killed_at_any_message_it_learns_everything_once(two: Case, tmp_path: Path) -> None:
    for number in (7, 30, 1, 23):
        with two.learner(tmp_path, hurt=f"learned:{number}") as worker:
            assert worker.ended() == -signal.SIGKILL, worker.said
    group = unique("two")
    with two.learner(tmp_path, group=group) as worker:
        worker.until_ready()
        metrics = worker.metrics()
        lags = [metrics[f'clickloop_learn_lag_messages{{partition="{n}"}}'] for n in (0, 1)]
        assert lags == [0, 0]
        worker.stop()
        found = worker.trained()
        ends = [len(log.messages) for log in two.logs]
        assert [committed(two.address, f"{group}-learn", two.topic, n) for n in (0, 1)] == ends
    assert sorted(found) == sorted(two.expected)
    for number, log in enumerate(two.logs):
        assert [line for line in found if line[0] == number] == log.audit(number)
    kept = state(tmp_path / "store")
    assert kept["values"]["cut"][0] == len(two.expected)
    assert kept["values"]["learner"]["examples"] == sum(
        row["kind"] == 0 or not row["kept"] for log in two.logs for row in log.examples
    )


def test_health_and_metrics(one: Case, tmp_path: Path) -> None:
    with one.learner(tmp_path, slow_s=0.02) as worker:
        worker.until_waiting_for("catching up: ")
        assert worker.get("/healthz") == (200, "live\n")
        worker.until_ready()
        eventually(lambda: worker.metrics()["clickloop_learn_owner"] == 1)
        found = worker.metrics()
        rows = one.logs[0].examples
        corrections = sum(row["kind"] for row in rows)
        assert found['clickloop_learn_examples_total{kind="correction"}'] == corrections
        assert found['clickloop_learn_examples_total{kind="first"}'] == len(rows) - corrections
        assert found['clickloop_learn_messages_total{sort="void"}'] > 0
        assert found['clickloop_learn_messages_total{sort="claim"}'] == 4
        assert found["clickloop_learn_saves_total"] > 2
        assert found["clickloop_learn_features"] > 50
        assert found["clickloop_learn_features_evicted"] > 50
        assert 0 < found["clickloop_learn_filter_fill"] < 0.1
        assert 0 <= found["clickloop_learn_false_admissions"] < 1
        for labels in ("first", "corrected"):
            assert 0 < found[f'clickloop_learn_log_loss{{labels="{labels}"}}'] < 1
            assert 0.2 < found[f'clickloop_learn_calibration{{labels="{labels}"}}'] < 5
        assert found['clickloop_learn_step_seconds_count{step="learn"}'] > 10
        assert worker.get("/tables")[0] == 404
        worker.stop()


def test_a_second_learner_stands_by_and_takes_over(two: Case, tmp_path: Path) -> None:
    options: dict[str, Any] = {"group": unique("pair"), "session_timeout": 2.0, "slow_s": 0.1}
    with two.learner(tmp_path, **options) as first:
        first.until_waiting_for("catching up")
        with two.learner(tmp_path, **options) as second:
            second.until_waiting_for("another learner of the group has 2 of the 2 partitions")
            assert second.metrics()["clickloop_learn_owner"] == 0
            first.until_waiting_for("catching up")
            first.kill()
            second.until_ready()
            assert sorted(second.trained()) == sorted(two.expected)
            second.stop()


def test_a_learner_that_froze_keeps_the_store_to_itself(two: Case, tmp_path: Path) -> None:
    options: dict[str, Any] = {"group": unique("frozen"), "session_timeout": 2.0, "slow_s": 0.1}
    with two.learner(tmp_path, **options) as first:
        first.until_waiting_for("catching up")
        with two.learner(tmp_path, **options) as second:
            second.until_waiting_for("another learner of the group")
            first.until_waiting_for("catching up")
            first.signal(signal.SIGSTOP)
            second.until_waiting_for("another process holds this store")
            first.signal(signal.SIGCONT)
            eventually(lambda: 200 in (first.get("/readyz")[0], second.get("/readyz")[0]), 60)
            assert sorted(second.trained()) == sorted(two.expected)


def test_a_topic_that_comes_later_is_noticed(one: Case, tmp_path: Path) -> None:
    """So, too, one that a broker did not know of yet, for it had just started."""
    topic = unique("later")
    with one.learner(tmp_path, topic=topic) as worker:
        worker.until_waiting_for(f"the topic {topic} is not there; create it")
        create(one.address, topic, partitions=1)
        worker.until_ready()
        worker.stop()


@pytest.mark.parametrize(
    ("value", "headers", "says"),
    [
        (b"", {"clickloop": b"{"}, "cannot be read"),
        (b"not arrow", None, "not an Arrow IPC stream"),
    ],
)
def test_poison_ends_it_and_is_never_skipped(
    one: Case, tmp_path: Path, value: bytes, headers: dict[str, bytes] | None, says: str
) -> None:
    log = one.logs[0]
    at = next(i for i, each in enumerate(log.messages) if i > 20 and each.value)
    topic = unique("poison")
    create(one.address, topic, partitions=1)
    messages = [(each.value, {"clickloop": each.header}) for each in log.messages[:at]]
    poison = (value, headers or {"clickloop": log.messages[at].header})
    fill(one.address, topic, 0, [*messages, poison])
    for _ in range(2):
        with one.learner(tmp_path, topic=topic) as worker:
            assert worker.ended() == 3, worker.said
            last = worker.said.splitlines()[-1]
            assert says in last
            assert f"topic {topic}, partition 0, offset {at}" in last
            assert "--from" in last
            assert "Traceback" not in worker.said


def test_the_command(one: Case, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CLICKLOOP_KAFKA__BOOTSTRAP_SERVERS": one.address,
        "CLICKLOOP_KAFKA__GROUP_PREFIX": unique("command"),
        "CLICKLOOP_TOPICS__LABELLED": one.topic,
        "CLICKLOOP_WORKER__LEARN_HTTP": ANY,
    }
    words = ["worker", "learn", "--config", str(one.config), "--store", str(tmp_path / "store")]
    with subprocess.Popen(
        [sys.executable, "-m", "deploy", *words], env=environment, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        said = worker.stdout.readline()
        ready = said.split()[-1] + "/readyz"
        eventually(lambda: answer(ready)[0] == 200)
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0
    assert state(tmp_path / "store")["values"]["cut"][0] == len(one.expected)


def test_starting_from_a_store(one: Case, straight: dict[str, Any], tmp_path: Path) -> None:
    with one.learner(tmp_path) as worker:
        worker.until_ready()
        worker.stop()
    topic = unique("empty")
    create(one.address, topic, partitions=1)
    source, new = str(tmp_path / "store"), tmp_path / "new"
    with one.learner(new, topic=topic, source=source) as worker:
        worker.until_ready()
        worker.stop()
    found = state(new / "store")
    assert found["weights"] == straight["weights"]
    assert found["values"]["learner"] == straight["values"]["learner"]
    assert found["values"]["cut"][0] == 0
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace('crosses = ["ad^city"]', "crosses = []"))
    with one.learner(tmp_path / "refused", source=source, config=str(other)) as worker:
        assert worker.ended() == 2
        assert "[features] crosses: ad^city is gone" in worker.said
    with one.learner(new, topic=one.topic) as worker:
        assert worker.ended() == 2
        assert f"learned from the topic {topic}" in worker.said


def test_a_store_of_another_kind_is_refused(one: Case, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "file").write_text("here")
    with one.learner(tmp_path) as worker:
        assert worker.ended() == 1
        assert "the folder holds other files" in worker.said


def test_examples_of_other_settings_are_refused(one: Case, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CONFIG.replace('city = { kind = "categorical" }', 'city = { kind = "list" }'))
    with one.learner(tmp_path, config=str(other)) as worker:
        assert worker.ended() == 3
        assert "no column features.city of the type" in worker.said
