"""The broker for tests: shared by all who need it, gone after the last, or a reason why not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.support import needs
from tests.support.waiting import eventually
from tests.system.kafka import jars

NEEDY = """\
import pytest
from tests.conftest import kafka

@pytest.mark.parametrize("n", range(4))
def test_needs_kafka(kafka, n):
    import pathlib, os
    here = pathlib.Path(os.environ["SEEN"]) / f"{n}"
    here.write_text(kafka)
"""


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Pytest on tests that need Kafka, in a process of its own."""
    (folder / "test_needy.py").write_text(NEEDY)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CI", "PYTEST", "CLICK"))}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", str(folder / "test_needy.py")],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "SEEN": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def brokers(folder: Path) -> list[str]:
    """Command lines of the processes that work in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(str(folder).encode() in word for word in words) and b"kafka.Kafka" in words:
            found.append(b" ".join(words).decode())
    return found


@pytest.mark.usefixtures("kafka")
def test_processes_of_a_run_share_one_broker_that_ends_with_them(tmp_path: Path) -> None:
    done = run(tmp_path, "-n", "2")
    assert "4 passed" in done.stdout, done.stdout
    assert len({(tmp_path / str(n)).read_text() for n in range(4)}) == 1
    assert len(list(tmp_path.glob("tmp/kafka"))) == 1
    eventually(lambda: brokers(tmp_path) == [])


def test_without_java_the_tests_are_skipped_with_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, PATH="/nowhere")
    assert "4 skipped" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert len(lines) == 1
    assert "SKIPPED [4]" in lines[0]
    assert "apt install openjdk-17-jre-headless maven" in lines[0]
    assert "CLICKLOOP_TEST_KAFKA" in lines[0]


def test_without_java_the_tests_fail_in_ci(tmp_path: Path) -> None:
    done = run(tmp_path, PATH="/nowhere", CI="true")
    assert done.returncode == 1
    assert "no Kafka: Java is missing" in done.stdout


def test_a_named_broker_is_used(tmp_path: Path) -> None:
    done = run(tmp_path, PATH="/nowhere", CLICKLOOP_TEST_KAFKA="somewhere:1")
    assert "4 passed" in done.stdout
    assert (tmp_path / "0").read_text() == "somewhere:1"


def test_jars_are_checked(tmp_path: Path) -> None:
    names = [line.split()[1] for line in jars.DIGESTS.read_text().splitlines()]
    assert f"kafka_2.13-{jars.version()}.jar" in names
    assert jars.wrong(tmp_path) == sorted(names)
    (tmp_path / names[0]).write_bytes(b"something else")
    (tmp_path / "foreign.jar").write_bytes(b"")
    assert jars.wrong(tmp_path) == sorted([*names, "foreign.jar"])


@pytest.mark.usefixtures("kafka")
def test_a_damaged_jar_is_noticed(tmp_path: Path) -> None:
    if os.environ.get("CLICKLOOP_TEST_KAFKA"):
        needs.lacks(needs.OWN_KAFKA)
    whole = tmp_path / "jars"
    shutil.copytree(jars.fetched(), whole)
    assert jars.wrong(whole) == []
    damaged = next(iter(whole.glob("scala-library*")))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert jars.wrong(whole) == [damaged.name]
