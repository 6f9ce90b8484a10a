"""The benchmark of the joiner: its files, and the document it prints."""

import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from deploy.bench import join, ndjson_join
from deploy.bench.join_workload import JOIN, SCHEMA, Traffic, write_ndjson
from deploy.cli.app import app
from streams.deadletter import Source
from streams.files.logs import open_log
from streams.schema import POSITION_FIELDS

GAP = 90.0  # milliseconds: 20,000 impressions open
FLINK = Path(join.__file__).with_name("flink_join.py")


def tables(traffic: Traffic, bounds: list[int]) -> tuple[pa.Table, pa.Table]:
    """Both logs, from parts with these bounds."""
    parts = [traffic.part(a, b) for a, b in pairwise(bounds)]
    return (
        pa.Table.from_batches([part.impressions for part in parts]).unify_dictionaries(),
        pa.Table.from_batches([part.clicks for part in parts]),
    )


def test_the_files_are_the_traffic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traffic = Traffic(30_000, GAP, 1)
    expected = tables(traffic, [0, 30_000])
    events = write_ndjson(tmp_path / "logs", traffic, 30_000)
    assert events == sum(table.num_rows for table in expected)
    places = [field.name for field in POSITION_FIELDS]
    sources: tuple[Source, Source] = "impressions", "clicks"
    for source, table in zip(sources, expected, strict=True):
        log = open_log(tmp_path / "logs" / f"{source}.ndjson", SCHEMA, source)
        chunks = list(log)
        assert not any(chunk.rejected for chunk in chunks)
        found = pa.Table.from_batches([chunk.rows for chunk in chunks])
        assert found.drop_columns(places).to_pylist() == table.drop_columns(places).to_pylist()
    ndjson_join.main(tmp_path / "logs")
    rows, positives = map(int, capsys.readouterr().out.split())
    assert rows == 30_000
    assert 0.9 * expected[1].num_rows < positives <= expected[1].num_rows


def environment(folder: Path, script: str) -> Path:
    """What looks like a virtual environment, with a program for its Python."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return folder


@pytest.mark.slow
def test_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Flink, and a clock by which it takes ten times as long as ours."""
    monkeypatch.setattr(join, "PART", 4_096)
    really = join._seconds

    def seconds(command: list[str]) -> float:
        assert really(command) > 0
        clicks = (Path(command[-1]) / "clicks.ndjson").read_bytes().count(b"\n")
        return 1 + clicks * (1e-4 if str(FLINK) in command else 1e-5)

    monkeypatch.setattr(join, "_seconds", seconds)
    # Flink's program is given the window, the lateness and the folder.
    given_ = f'test "$1 $2 $3" = "{FLINK} {JOIN.window} {JOIN.lateness}" && test -d "$4"'
    flink = environment(tmp_path / "flink", given_)
    command = ["bench", "join", "--open", "50000", "--rounds", "1", "--events", "100000"]
    done = CliRunner().invoke(app, [*command, "--flink", str(flink), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    figures = {entry["name"]: entry for entry in document["figures"]}
    assert list(figures) == [
        "events_per_s",
        "events_per_s_with_merge",
        "bytes_per_open_impression",
        "bytes_per_known_impression",
        "bytes_with_remembered_per_open",
        "spilled_speed_ratio",
        "ndjson_events_per_s",
        "flink_events_per_s",
        "ratio_flink",
    ]
    assert all(entry["value"] > 0 for entry in figures.values())


@pytest.mark.slow
def test_without_files_or_flink(tmp_path: Path) -> None:
    command = ["bench", "join", "--open", "50000", "--rounds", "1", "--events", "0"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "spilled_speed_ratio" in done.stdout
    assert "ndjson" not in done.stdout
    missing = CliRunner().invoke(app, [*command, "--flink", str(tmp_path)])
    assert missing.exit_code == 2
    assert "no bin/python" in missing.stderr


@pytest.mark.slow
def test_a_flink_that_fails_is_quoted(tmp_path: Path) -> None:
    flink = environment(tmp_path / "flink", 'echo "no Java here" >&2; exit 3')
    command = ["bench", "join", "--open", "50000", "--rounds", "1", "--events", "30000"]
    done = CliRunner().invoke(app, [*command, "--flink", str(flink)])
    assert done.exit_code == 1
    assert "exited with 3" in done.stderr
    assert "no Java here" in done.stderr
