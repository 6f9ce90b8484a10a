"""The command line as a person meets it: messages, exit codes, results alone on stdout."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.demo import open_bandit
from tests import ROOT
from tests.support import commands, needs, small_logs
from tests.support.small_logs import SmallLogs

WHEELS = ROOT / ".cache" / "demo"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> SmallLogs:
    return small_logs.write(tmp_path_factory.mktemp("logs"), rows=300)


def clickloop(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy", *map(str, words)],
        cwd=cwd or ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def replay_words(logs: SmallLogs, out: Path) -> list[object]:
    return [
        *("replay", "--config", logs.config, "--impressions", logs.impressions),
        *("--clicks", logs.clicks, "--out", out),
    ]


def test_replay_says_what_happened_and_where(logs: SmallLogs, tmp_path: Path) -> None:
    done = clickloop(*replay_words(logs, tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "normalized entropy" in done.stdout
    assert str(tmp_path / "out" / "report.html") in done.stdout
    assert done.stderr == ""


def test_json_is_the_only_thing_on_stdout(logs: SmallLogs, tmp_path: Path) -> None:
    done = clickloop(*replay_words(logs, tmp_path / "out"), "--json")
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "out" / "metrics.json").read_text())
    store = tmp_path / "out" / "store"
    listed = commands.clickloop("snapshots", "list", "--store", store, "--json")
    assert json.loads(listed.stdout) == document["snapshots"]
    shown = commands.clickloop("snapshots", "show", "--store", store)
    assert json.loads(shown.stdout)["version"] == len(document["snapshots"])
    scores = tmp_path / "scores.ndjson"
    words = ["--store", store, "--input", logs.impressions]
    scored = commands.clickloop("score", *words, "--output", scores, "--json")
    assert json.loads(scored.stdout)["rows"] == len(logs.shown) == len(scores.open().readlines())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["replay"], 2, "Missing option"),
        (["reply"], 2, "No such command 'reply'"),
        (
            ["score", "--store", "nowhere", "--input", "x", "--output", "y.ndjson"],
            1,
            "no store here",
        ),
        (["score", "--store", "nowhere", "--input", "x", "--output", "y.txt"], 2, "ends in"),
        (["snapshots", "verify", "--store", "nowhere"], 1, "nowhere: no store here"),
        (["report", "--run", "nowhere"], 3, "nowhere"),
        (["demo", "--data", "nowhere", "--out", "OUT"], 3, "`make run` fetches them"),
        (["demo", "--out", "USED"], 2, "no demo made"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_mistakes_are_one_clear_message(
    tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    places = {"OUT": str(tmp_path / "out"), "USED": str(tmp_path / "used")}
    done = commands.clickloop(*(places.get(word, word) for word in words))
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_missing_log_is_exit_3_and_debug_traces(logs: SmallLogs, tmp_path: Path) -> None:
    words = [
        *("replay", "--config", logs.config, "--impressions", tmp_path / "none.ndjson"),
        *("--clicks", logs.clicks, "--out", tmp_path / "out"),
    ]
    done = clickloop(*words)
    assert done.returncode == 3
    assert "none.ndjson: there are no log files" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    traced = clickloop("--debug", *words)
    assert traced.returncode == 1
    assert "Traceback" in traced.stderr


def test_interrupt_saves_and_a_resumed_run_goes_on(logs: SmallLogs, tmp_path: Path) -> None:
    once = logs.impressions.read_text()
    many = tmp_path / "many.ndjson"
    with many.open("w") as file:
        for copy in range(400):
            file.write(once.replace('"impression_id": "i', f'"impression_id": "i{copy}-'))
    out = tmp_path / "out"
    words = replay_words(logs, out)
    words[4] = many
    with subprocess.Popen(
        [sys.executable, "-m", "deploy", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        letters = out / "dead-letter.ndjson"
        while not (letters.exists() and letters.stat().st_size) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "stopped, and saved: go on with --resume" in stderr
    done = clickloop(*words, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ledger"]["impressions"] == 400 * len(once.splitlines())


@pytest.mark.skipif(
    not (WHEELS / open_bandit.WHEEL).exists(),
    reason=needs.DEMO_LOGS,
)
def test_demo_is_the_whole_job(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    for _ in range(2):  # an earlier demo is replaced
        done = clickloop("demo", "--out", out, "--impressions", 20_000)
        assert done.returncode == 0, done.stderr
    assert "60,000: 283 clicked" in done.stdout
    assert "95% interval" in done.stdout
    assert "Click delays are drawn" in done.stdout
    assert "knowing the truth" in done.stdout
    assert (out / "run" / "report.html").exists()
    assert "Prediction and truth" in (out / "simulated" / "run" / "report.html").read_text()
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    assert metrics["ledger"]["clicks"] == 287
