"""The simulator's files: the same everywhere, and every stated rate in them."""

import gzip
import hashlib
import json
import math
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ftrl.features.config import FeatureConfig
from ftrl.settings import LearnerSettings
from joiner.settings import JoinSettings
from streams.simulator import Simulation, simulate
from streams.simulator.malformed import NDJSON, PARQUET
from streams.simulator.settings import SimulatorSettings
from tests.support.tiers import tries

SMALL = {"users": 200, "ads": 60, "publishers": 8, "advertisers": 5}
CALM: dict[str, Any] = dict.fromkeys(
    ("out_of_order_rate", "duplicate_rate", "orphan_rate", "malformed_rate", "skewed_rate"), 0.0
)
FAULTY = SimulatorSettings(
    impressions=60_000,
    seed=11,
    ctr=0.2,
    beyond_window=0.05,
    out_of_order_rate=0.05,
    duplicate_rate=0.03,
    orphan_rate=0.02,
    malformed_rate=0.01,
    skewed_rate=0.04,
)


def small(**changes: Any) -> SimulatorSettings:
    """Settings that are quick to simulate."""
    return SimulatorSettings(**({"impressions": 2_000, **SMALL} | changes))


def digest(*paths: Path) -> str:
    """Of the contents of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()


def objects(path: Path) -> list[dict[str, Any]]:
    """The well-formed rows of an NDJSON log, judged line by line in plain Python."""
    return [row for row in map(well_formed, path.read_bytes().splitlines()) if row]


def well_formed(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None where the records' definition forbids it."""
    try:
        row = json.loads(line.decode())
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    identity, ts = row.get("impression_id"), row.get("ts")
    good = isinstance(identity, str) and 1 <= len(identity) <= 128
    good = good and type(ts) is int and 0 <= ts < 2**63
    good = good and isinstance(row.get("features", {}), dict)
    return row if good and row.get("type", "click") in ("click", "long_click") else None


def near(count: int, n: int, rate: float) -> bool:
    """Whether a count of n independent events of this rate is within five deviations."""
    return abs(count - n * rate) <= 5 * math.sqrt(n * rate * (1 - rate))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A simulation with many faults of every kind, as Parquet."""
    return simulate(FAULTY, tmp_path_factory.mktemp("faulty"))


def test_the_same_on_every_machine(tmp_path: Path) -> None:
    """Pinned: whoever changes this changes every simulated log, and must say so."""
    made = simulate(small(), tmp_path, "ndjson")
    truth = pq.read_table(made.truth)["true_p"].to_numpy().astype("<f8").tobytes()
    assert digest(made.impressions) == (
        "e3698c2316d862d11b333b9795539ff9d4b0bc4296deeb01e7523ad12fc8631e"
    )
    assert digest(made.clicks) == (
        "f794b4075dee52f759a14c0eafd60a262f2721dcae0e4e9a143cf3d6a189f26f"
    )
    assert hashlib.sha256(truth).hexdigest() == (
        "6fe0ebdbf76c372b8e02a6937c5385b531c1824349e3cde301ffae590da7c565"
    )


@settings(max_examples=tries(15))
@given(n=st.integers(1, 1_500), chunk=st.integers(20, 2_000), days=st.sampled_from([0.05, 3, 40]))
def test_chunks_never_show(
    tmp_path_factory: pytest.TempPathFactory, n: int, chunk: int, days: float
) -> None:
    told = small(impressions=n, duration=f"{days}d", duplicate_rate=0.1, ctr=0.2)
    folders = [tmp_path_factory.mktemp("chunks") for _ in range(2)]
    whole = simulate(told, folders[0])
    parts = simulate(told, folders[1], chunk=chunk)
    assert whole.document == parts.document
    for name in ("impressions.parquet", "clicks.parquet", "truth.parquet", "simulation.json"):
        assert digest(folders[0] / name) == digest(folders[1] / name), name


def test_formats_hold_the_same_events(tmp_path: Path) -> None:
    """All good rows agree, in order; gzip holds what plain NDJSON does."""
    folders = {name: tmp_path / name for name in ("parquet", "ndjson", "ndjson.gz")}
    table, plain, packed = (
        simulate(small(), folders["parquet"], "parquet"),
        simulate(small(), folders["ndjson"], "ndjson"),
        simulate(small(), folders["ndjson.gz"], "ndjson.gz"),
    )
    assert gzip.decompress(packed.impressions.read_bytes()) == plain.impressions.read_bytes()
    assert gzip.decompress(packed.clicks.read_bytes()) == plain.clicks.read_bytes()
    for log in ("impressions", "clicks"):
        rows = objects(getattr(plain, log))
        good = [row for row in pq.read_table(getattr(table, log)).to_pylist() if good_row(row)]
        for row in rows:
            for name, value in row.pop("features", {}).items():
                row[f"features.{name}"] = value
        assert rows == good
        assert len(rows) > 10


def good_row(row: dict[str, Any]) -> bool:
    """Whether a Parquet row has an id and a time."""
    identity, ts = row["impression_id"], row["ts"]
    return bool(identity) and len(identity) <= 128 and ts is not None and ts >= 0


def test_every_kind_of_malformed_row(tmp_path: Path) -> None:
    """Each is refused by the plain checker above, and each is counted."""
    told = small(malformed_rate=0.5, ctr=0.5)
    made = simulate(told, tmp_path, "ndjson")
    for log in ("impressions", "clicks"):
        lines = getattr(made, log).read_bytes().splitlines()
        counts = made.document[log]["malformed"]
        assert set(counts) == set(NDJSON[log])
        assert min(counts.values()) > 5
        assert sum(counts.values()) == sum(well_formed(line) is None for line in lines)
        assert len(lines) == made.document[log]["rows"]


def test_counts_are_those_of_the_files(faulty: Simulation) -> None:
    for log in ("impressions", "clicks"):
        counts = faulty.document[log]
        rows = pq.read_table(getattr(faulty, log)).to_pylist()
        good = [row for row in rows if good_row(row)]
        kinds = [counts] if log == "impressions" else [counts["click"], counts["long_click"]]
        names = ("true", "duplicates", "orphans")
        made = sum(kind.get(name, 0) for kind in kinds for name in names)
        assert len(rows) == counts["rows"]
        assert len(rows) - len(good) == sum(counts["malformed"].values())
        assert len(good) == made
        twice = Counter((row["impression_id"], row.get("type")) for row in good)
        assert max(twice.values()) == 2
        duplicates = sum(kind["duplicates"] for kind in kinds)
        assert sum(n == 2 for n in twice.values()) == duplicates
        assert set(counts["malformed"]) == set(PARQUET)
    shown = set(pq.read_table(faulty.truth)["impression_id"].to_pylist())
    assert len(shown) == FAULTY.impressions
    for name in ("click", "long_click"):
        clicks = [row for row in rows if good_row(row) and row["type"] == name]
        orphans = sum(row["impression_id"] not in shown for row in clicks)
        assert orphans == faulty.document["clicks"][name]["orphans"] > 0


def test_rates_are_as_stated(faulty: Simulation) -> None:
    s, doc = FAULTY, faulty.document
    n, clicks = s.impressions, doc["clicks"]["click"]["true"]
    assert doc["impressions"]["true"] == n
    assert near(doc["clicks"]["long_click"]["true"], clicks, s.long_click_share)
    assert near(doc["clicks"]["click"]["beyond_window"], clicks, s.beyond_window)
    logs = [doc["impressions"], doc["clicks"]["click"], doc["clicks"]["long_click"]]
    for counts in logs:
        assert near(counts["delayed"], counts["true"], s.out_of_order_rate)
        assert near(counts["skewed"], counts["true"], s.skewed_rate)
        assert near(counts["duplicates"], counts["true"], s.duplicate_rate)
    for counts in logs[1:]:
        assert near(counts["orphans"], counts["true"], s.orphan_rate)
    true = doc["clicks"]["click"]["true"] + doc["clicks"]["long_click"]["true"]
    assert near(sum(doc["impressions"]["malformed"].values()), n, s.malformed_rate)
    assert near(sum(doc["clicks"]["malformed"].values()), true, s.malformed_rate)


def test_delays_are_as_stated(faulty: Simulation) -> None:
    """Against the log-logistic distribution function, in plain floats."""
    table = pq.read_table(faulty.truth)
    delays = np.sort(table["delay_ms"].drop_null().to_numpy())
    assert len(delays) == np.count_nonzero(table["clicked"].to_numpy(zero_copy_only=False))
    s = FAULTY
    odds = (1 - s.beyond_window) / s.beyond_window
    shape = math.log(odds) / math.log(s.window / s.delay_median)
    assert faulty.document["delay_shape"] == pytest.approx(shape, rel=1e-12)
    for t in (1_000, 5_000, s.delay_median, 60_000, 600_000, s.window):
        share = 1 / (1 + (t / s.delay_median) ** -shape)
        assert near(int(np.searchsorted(delays, t, side="right")), len(delays), share), t
    assert delays[0] >= 1
    assert s.window < delays[-1] <= s.longest_delay


def test_rows_come_in_order_of_arrival(tmp_path: Path) -> None:
    """Never later than stated, and without disorder within the transport time."""
    for rate, most in ((0.0, 200), (0.3, 5_200)):
        told = small(**CALM | {"out_of_order_rate": rate, "duration": "10m", "ctr": 0.3})
        made = simulate(told, tmp_path, chunk=300)
        for log in (made.impressions, made.clicks):
            ts = pq.read_table(log)["ts"].to_numpy()
            behind = (np.maximum.accumulate(ts) - ts).max()
            assert behind <= most
            assert rate == 0 or behind > 200


def test_one_fault_changes_nothing_else(tmp_path: Path) -> None:
    """Rows that a fault does not touch are the same with and without it."""
    calm = simulate(small(**CALM), tmp_path / "calm")
    before = pq.read_table(calm.impressions).to_pylist()
    skewed = simulate(small(**CALM | {"skewed_rate": 0.2, "skew": "7m"}), tmp_path / "skewed")
    moves = Counter(
        after["ts"] - row["ts"]
        for row, after in zip(before, pq.read_table(skewed.impressions).to_pylist(), strict=True)
    )
    assert set(moves) == {0, -420_000, 420_000}
    assert moves[420_000] + moves[-420_000] == skewed.document["impressions"]["skewed"]
    assert near(moves[420_000], moves[420_000] + moves[-420_000], 0.5)
    doubled = simulate(small(**CALM | {"duplicate_rate": 0.2}), tmp_path / "doubled")
    seen: dict[str, dict[str, Any]] = {}
    for row in pq.read_table(doubled.impressions).to_pylist():
        assert seen.setdefault(row["impression_id"], row) == row
    assert list(seen.values()) == before


def test_the_settings_beside_the_logs_fit_them(faulty: Simulation) -> None:
    values = tomllib.loads(faulty.config.read_text())
    features, join = FeatureConfig(**values["features"]), JoinSettings(**values["join"])
    assert set(values) == {"features", "join", "learner"}
    LearnerSettings(**values["learner"])
    assert features.event_schema(join.click_types) == faulty.schema
    assert features.fields["position"].kind == "position"
    assert join.window == FAULTY.window
    assert join.label_span >= FAULTY.longest_delay
    columns = pq.read_schema(faulty.impressions)
    for field in faulty.schema.fields:
        assert columns.field(field.column).type in (field.arrow_type, pa.string())


def test_optional_parts(tmp_path: Path) -> None:
    made = simulate(small(positions=0, long_click_share=0, impressions=1), tmp_path, "ndjson")
    assert b"position" not in made.impressions.read_bytes()
    assert made.schema.click_types == ("click",)
    assert "position" not in tomllib.loads(made.config.read_text())["features"]["fields"]
    assert "long_clicked" not in pq.read_schema(made.truth).names
    assert made.document["truth"]["normalized_entropy"] is None
    steps: list[int] = []
    simulate(small(), tmp_path, progress=steps.append, chunk=700)
    assert steps == [700, 1_400, 2_000]


def test_a_simulation_can_be_repeated_from_its_summary(tmp_path: Path) -> None:
    made = simulate(small(seed=5, start="2025-03-30T01:30:00+02:00"), tmp_path / "a")
    document = json.loads(made.summary.read_text())
    assert document == made.document
    again = simulate(SimulatorSettings(**document["settings"]), tmp_path / "b")
    assert digest(again.impressions, again.clicks) == digest(made.impressions, made.clicks)


def test_settings_are_described_and_checked() -> None:
    assert all(field.description for field in SimulatorSettings.model_fields.values())
    with pytest.raises(ValidationError, match=r"delay_median \(30m\) must be shorter than window"):
        SimulatorSettings(delay_median=1_800_000)
    with pytest.raises(ValidationError, match=r"longest_delay \(1m\) must be longer than window"):
        SimulatorSettings(longest_delay=60_000)
    with pytest.raises(ValidationError, match="extra"):
        SimulatorSettings.model_validate({"impresions": 5})
