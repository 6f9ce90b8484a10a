"""The names that services import: which they are, what each loads, and that their page is right."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import clickloop
from deploy.settings import load
from streams.labelled_log import HEADER_NAME
from tests import ROOT
from tests.support.labelled_logs import labelled_logs
from tests.support.library_page import PAGE, examples
from tests.support.small_logs import SmallLogs
from tests.system.kafka.messages import stored
from tests.system.kafka.topics import create, fill, unique

NAMES = {
    "ClickProducer",
    "ClickloopError",
    "ConfigError",
    "Cursor",
    "DataError",
    "DeliveryError",
    "EventSchema",
    "Field",
    "ImpressionProducer",
    "KafkaSettings",
    "LabelledRows",
    "ProducerSettings",
    "Scorer",
    "Settings",
    "Stopped",
    "StoreError",
    "StoreHeldError",
    "read_labelled",
    "replay",
}
ERRORS = {name for name in NAMES if name.endswith("Error")}
ROOMS = {"streams", "joiner", "ftrl", "deploy"}
KAFKA = {"kafka", "aiokafka", "faust"}
# In each of these processes names are asked for one after the other. What must not be loaded by
# then would cost a service start-up time and memory.
PURE, NO_DRIVER = {"joiner", "ftrl", "deploy"}, {"aiokafka", "faust"}
STEPS = (
    ("import clickloop", ROOMS | KAFKA | {"numba", "numpy", "pyarrow", "pydantic"}),
    ("clickloop.ClickloopError", PURE | KAFKA | {"numba", "numpy", "pyarrow", "pydantic"}),
    ("clickloop.KafkaSettings", PURE | KAFKA | {"numba"}),
    ("clickloop.EventSchema", PURE | KAFKA | {"numba"}),
    ("clickloop.read_labelled", PURE | NO_DRIVER),
    ("clickloop.ClickProducer", PURE | NO_DRIVER),
)
OTHER_STEPS = (
    ("import clickloop", ROOMS),
    ("clickloop.Scorer", KAFKA | {"joiner"}),
    ("clickloop.Settings", KAFKA),
    ("clickloop.replay", KAFKA),
)


def test_its_names_are_these() -> None:
    assert set(dir(clickloop)) == NAMES
    for name in NAMES:
        assert getattr(clickloop, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Joiner'"):
        _ = clickloop.Joiner  # type: ignore[attr-defined] # that is the test
    hints = ROOT / "clickloop" / "__init__.pyi"
    assert all(f" as {name}\n" in hints.read_text() for name in NAMES)


@pytest.mark.parametrize("steps", [STEPS, OTHER_STEPS], ids=["producers", "scorer"])
def test_a_name_loads_what_it_needs(steps: tuple[tuple[str, set[str]], ...]) -> None:
    tell = "print(*{name.split('.')[0] for name in sys.modules})"
    program = "import sys\n" + "".join(f"{step}\n{tell}\n" for step, _ in steps)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for (step, never), loaded in zip(steps, done.stdout.splitlines(), strict=True):
        assert not never & set(loaded.split()), step


def test_every_package_has_types() -> None:
    for package in sorted({"clickloop"} | ROOMS):
        assert (ROOT / package / "py.typed").exists(), package


def test_python_m_clickloop_is_the_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clickloop", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "replay" in done.stdout


def test_the_page_has_every_name_and_the_tree_of_errors() -> None:
    text = PAGE.read_text()
    for name in NAMES:
        assert re.search(rf"\b{name}\b", text), f"docs/library.md does not tell of {name}"
    tree = re.findall(r"^ {4}([ │├└─]*)(\w+Error) ", text, re.MULTILINE)
    assert {name for _, name in tree} == ERRORS
    above: list[str] = []
    for branch, name in tree:
        depth = len(branch) // 4
        above = above[:depth]
        parents = [each.__name__ for each in getattr(clickloop, name).__mro__[1:]]
        assert parents[: len(above)] == above[::-1], name
        above.append(name)


def test_the_examples_on_files_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    exec(compile(examples()[0], str(PAGE), "exec"), {})
    said = capsys.readouterr().out
    assert "impressions" in said
    assert "no scorer: " in said


def test_the_examples_on_kafka_run(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    small = Path("docs/examples/small")
    logs = SmallLogs(
        small / "config.toml", small / "impressions.ndjson", small / "clicks.ndjson", [], [], 0
    )
    (log,) = labelled_logs(load(logs.config), logs, 1, turns=30)
    assert log.void_rows
    topics = {kind: unique(kind) for kind in ("impressions", "clicks", "labelled")}
    create(kafka, *topics.values(), partitions=1)
    fill(kafka, topics["labelled"], 0, [(x.value, {HEADER_NAME: x.header}) for x in log.messages])
    monkeypatch.setenv("CLICKLOOP_KAFKA__BOOTSTRAP_SERVERS", kafka)
    for kind, name in topics.items():
        monkeypatch.setenv(f"CLICKLOOP_TOPICS__{kind.upper()}", name)
    program = compile(examples()[1], str(PAGE), "exec")
    first: dict[str, Any] = {}
    exec(program, first)
    assert first["clicks"] == sum(row["label"] for row in log.examples) > 0
    again: dict[str, Any] = {}
    exec(program, again)
    assert again["clicks"] == 0, "the cursors go on after what was read"
    assert [len(stored(kafka, topics[kind], 0)) for kind in ("impressions", "clicks")] == [2, 2]
