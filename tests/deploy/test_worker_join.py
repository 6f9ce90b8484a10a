"""The commands on a real broker: files in, a worker, the labelled topic as replay has it."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deploy.settings import load
from streams.arrow_ipc import ARROW
from tests import ROOT
from tests.support import small_logs
from tests.support.commands import clickloop
from tests.support.waiting import eventually
from tests.system.kafka.pipeline import messages
from tests.system.kafka.topics import unique
from tests.system.kafka.workers.child import Child
from tests.system.simulation.check import counting_blocks
from tests.system.simulation.workers import rows_of
from tests.system.simulation.world import Message

CLOSES_MS = 600_000 + 5_000  # window and lateness of the small logs

Row = dict[str, Any]


def settings(address: str, http_port: int = 0) -> str:
    """Small logs' settings, with corrections and subsampling, on topics of their own."""
    name = unique("whole")
    topics = "".join(
        f'{kind} = "{name}-{kind}"\n'
        for kind in ("impressions", "clicks", "labelled", "dead_letters", "late_clicks")
    )
    return small_logs.EVERYTHING_ON + (
        f'[kafka]\nbootstrap_servers = "{address}"\ngroup_prefix = "{name}"\n'
        f"[topics]\n{topics}partitions = 1\nreplication = 1\n"
        f'[worker]\njoin_http = "127.0.0.1:{http_port}"\nidle_timeout = "1s"\n'
    )


class Worker(Child):
    """`clickloop worker join`, and what it says of itself."""

    def __init__(self, config: Path) -> None:
        log = config.parent / "worker.out"
        super().__init__("deploy", "worker", "join", "--config", str(config), log=log)

    def __enter__(self) -> "Worker":
        eventually(lambda: "http://" in self.said, 120)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def asked(self, path: str) -> tuple[int, str]:
        """Status and text of an answer."""
        address = self.said.split("http://")[1].split()[0]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        """Whether it has joined all there is."""
        return self.asked("/readyz")[0] == 200


@pytest.mark.parametrize("which", ["join", "learn"])
def test_without_a_broker_one_line_says_so(which: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(settings("127.0.0.1:1") + 'learn_http = "127.0.0.1:0"\n')
    store = ("--store", tmp_path / "store") if which == "learn" else ()
    command = [sys.executable, "-m", "deploy", "worker", which, "--config", config, *store]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "is Kafka there, and [kafka] right?" in done.stderr


def plain(row: Row) -> Row:
    """A row without its place and its prediction, which differ by design."""
    return {
        name: value for name, value in row.items() if name not in ("src_offset", "src_row", "p")
    }


def ended_at(logs: small_logs.SmallLogs) -> int:
    """The greatest time of both logs, ms."""
    return max(max(int(row["ts"]) for row in log) for log in (logs.shown, logs.clicked))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> small_logs.SmallLogs:
    return small_logs.write(tmp_path_factory.mktemp("logs"), settings=small_logs.EVERYTHING_ON)


@pytest.fixture(scope="module")
def replayed(logs: small_logs.SmallLogs, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The examples of a replay of the same logs, in their order."""
    out = tmp_path_factory.mktemp("replay") / "run"
    files = ("--impressions", logs.impressions, "--clicks", logs.clicks, "--out", out)
    done = clickloop("replay", "--config", logs.config, *files)
    assert done.returncode == 0, done.stderr
    rows: list[Row] = pq.read_table(out / "examples").to_pylist()
    return [plain(row) for row in rows]


@pytest.mark.parametrize("formats", [("json", "json"), ("arrow", "arrow"), ("json", "arrow")])
def test_the_labelled_topic_is_what_replay_writes(
    formats: tuple[str, str],
    logs: small_logs.SmallLogs,
    replayed: list[Row],
    kafka: str,
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(settings(kafka))
    assert clickloop("topics", "create", "--config", config).returncode == 0
    # The first half in one format, the second in the other, on one topic.
    lines = logs.impressions.read_bytes().splitlines(keepends=True)
    halves = (lines[: len(lines) // 2], lines[len(lines) // 2 :])
    for number, (half, wanted) in enumerate(zip(halves, formats, strict=True)):
        file = tmp_path / f"part{number}.ndjson"
        file.write_bytes(b"".join(half))
        letters = ("--dead-letters", tmp_path / f"part{number}.dead")
        produced = ("impressions", file, "--format", wanted, *letters)
        done = clickloop("produce", "--config", config, *produced)
        assert done.returncode == 3, done.stderr  # there are bad rows, which it says
    done = clickloop("produce", "--config", config, "clicks", logs.clicks, "--format", formats[0])
    assert done.returncode == 0, done.stderr
    with Worker(config) as worker:
        eventually(worker.is_ready, 120)
        time.sleep(2)  # the idle logs are lifted
        status, metrics = worker.asked("/metrics")
        assert status == 200
        assert worker.asked("/healthz")[0] == 200
        worker.stop()
    loaded = load(config)
    found = messages(kafka, loaded.topics.labelled, 0)
    blocks = counting_blocks([Message(dict(m.headers)["clickloop"], m.value or b"") for m in found])
    rows = [plain(row) for _, value in blocks for row in rows_of(value)]
    assert rows == replayed[: len(rows)]
    # Where a file ends for good, a topic only falls silent: the last windows stay open.
    ended = ended_at(logs)
    assert all(row["ts"] + CLOSES_MS >= ended for row in replayed[len(rows) :])
    assert dict(found[-1].headers)["content-type"] == ARROW.encode()
    assert 'clickloop_join_lag_messages{partition="0",source="clicks"} 0.0' in metrics
    positives = sum(row["label"] for row in rows if not row["kind"])
    assert f'outcome="positives",partition="0"}} {float(positives)}' in metrics
