"""`clickloop produce`: files in, the same rows in Kafka, at the rate that was asked for."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.cli import produce
from deploy.cli.app import app
from streams.kafka.chunk import Partition
from streams.kafka.codec import Decoder
from streams.record import RecordType
from streams.schema import EventSchema, Field
from tests.support.log_files import Row, write_lines
from tests.system.kafka.messages import stored
from tests.system.kafka.topics import create, unique

PARTITIONS = 3
SCHEMA = EventSchema((Field("city", "string"),))
ROWS = [
    {"impression_id": f"i{i}", "ts": 1000 + i, "features": {"city": f"c{i % 3}"}} for i in range(50)
]


@pytest.fixture
def topic(kafka: str) -> str:
    name = unique("impressions")
    create(kafka, name, partitions=PARTITIONS)
    return name


@pytest.fixture
def config(kafka: str, topic: str, tmp_path: Path) -> Path:
    path = tmp_path / "clickloop.toml"
    path.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka}"\n[topics]\nimpressions = "{topic}"\n'
        '[features.fields]\ncity = { kind = "categorical" }\n'
    )
    return path


def run(config: Path, source: str, path: Path, *options: str) -> Result:
    words = ["produce", source, str(path), "--config", str(config), *options]
    return CliRunner().invoke(app, words)


def ids(kafka: str, topic: str) -> list[str]:
    rows: list[Row] = []
    for number in range(PARTITIONS):
        record = RecordType("impressions", SCHEMA)
        decoder = Decoder(record, Partition(topic, number), PARTITIONS, 60_000)
        chunk = decoder.decode(stored(kafka, topic, number))
        assert not chunk.rejected
        rows += chunk.rows.to_pylist()
    return sorted((row["impression_id"] for row in rows), key=lambda text: int(text[1:]))


@pytest.mark.parametrize("form", ["json", "arrow"])
def test_files_become_messages(
    kafka: str, topic: str, config: Path, tmp_path: Path, form: str
) -> None:
    lines = [json.dumps(row).encode() for row in ROWS]
    path = write_lines(tmp_path / "log.ndjson", lines)
    done = run(config, "impressions", path, "--format", form, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.output)
    assert (document["rows"], document["topic"], document["rejected"]) == (50, topic, {})
    assert document["letters"] is None
    assert ids(kafka, topic) == [row["impression_id"] for row in ROWS]


def test_rows_that_cannot_be_read_are_told(
    kafka: str, topic: str, config: Path, tmp_path: Path
) -> None:
    lines = [json.dumps(ROWS[0]).encode(), b"{}{}", json.dumps(ROWS[1]).encode()]
    path = write_lines(tmp_path / "log.ndjson", lines)
    letters = tmp_path / "letters.ndjson"
    done = run(config, "impressions", path, "--dead-letters", str(letters))
    assert done.exit_code == 3
    assert "2 rows published" in done.output
    assert f"not published: 1 not_one_object: {letters}" in done.output.replace("\n", "")
    assert json.loads(letters.read_text())["src_row"] == 2
    assert ids(kafka, topic) == ["i0", "i1"]


class Clock:
    """Time that passes while somebody sleeps, and then alone."""

    now = 0.0

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Be `seconds` later."""
        self.now += seconds


def test_a_rate_is_kept(
    kafka: str, topic: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(tmp_path / "log.ndjson", [json.dumps(row).encode() for row in ROWS])
    monkeypatch.setattr(produce, "time", Clock())
    done = run(config, "impressions", path, "--rate", "50", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["seconds"] == pytest.approx(len(ROWS) / 50, abs=0.05)
    assert len(ids(kafka, topic)) == 50


def test_what_stands_in_the_way_is_named(config: Path, tmp_path: Path) -> None:
    nothing = run(config, "impressions", tmp_path / "nothing.ndjson")
    assert nothing.exit_code == 3
    assert "there are no log files" in nothing.output
    assert run(config, "events", tmp_path).exit_code == 2
    assert run(config, "clicks", tmp_path, "--format", "avro").exit_code == 2
