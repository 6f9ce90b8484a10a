"""Stores made by a version with other rules or defaults go on, by what they began with."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deploy import settings
from deploy.compatibility import Version, differences
from deploy.replay import inputs
from deploy.replay.replay import EXAMPLES, STORE, Stopped, replay
from deploy.storage.checkpoint_store import CheckpointStore
from deploy.storage.rocksdb import Store
from deploy.workers.join.command import config_of, setup_of
from deploy.workers.learn.metrics import LearnMetrics
from deploy.workers.learn.online_trainer import OnlineTrainer
from streams import validate
from streams.errors import ConfigError
from streams.files import open_log
from streams.record import ColumnCheck
from streams.rules import RuleNumbers
from tests.deploy.test_resume import loaded, stops_after
from tests.support import small_logs
from tests.support.small_logs import SmallLogs

SECOND = RuleNumbers(accept=2)
CHANGED: dict[int, dict[str, Any]] = {
    2: {
        "join.lateness": "7s",
        "learner.beta": 3.0,
        "topics.max_skew": "9s",
        "features.fields.*.mantissa_bits": 2,
    },
    3: {"learner.beta": 2.0},
}
NEWER = Version(RuleNumbers(defaults=3), CHANGED)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> SmallLogs:
    return small_logs.write(tmp_path_factory.mktemp("logs"), settings=small_logs.FORGETFUL)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "open_log", functools.partial(open_log, block_rows=150))


def refusing(record: Any, columns: Any) -> Iterator[ColumnCheck]:
    """Rule `accept` 2: rows of an odd `ts` are refused."""
    yield from validate.ACCEPT[1](record, columns)
    ts = columns["ts"]
    odd = ts.fill_null(0).to_numpy() % 2 == 1
    yield ColumnCheck("ts", "odd", odd, ts, "an even time")


def values_of(out: Path) -> dict[str, Any]:
    with Store(out, read_only=True) as store:
        values = CheckpointStore(store).values
    assert values is not None
    return values


def test_a_replay_goes_on_by_other_rules(
    logs: SmallLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read stays accepted, also if its label is still to come; after it rule 2 holds."""
    monkeypatch.setitem(validate.ACCEPT, 2, refusing)
    paths, out = (str(logs.impressions), str(logs.clicks)), tmp_path / "out"
    later = Version(SECOND)
    with pytest.raises(Stopped):
        replay(loaded(logs), *paths, out, stop=stops_after(6))
    at = values_of(out / STORE)["inputs"]["impressions"]["at"][0][1]
    assert "rules" not in values_of(out / STORE)["join"]
    for _ in range(2):
        with pytest.raises(Stopped):
            replay(loaded(logs), *paths, out, resume=True, stop=stops_after(1), version=later)
    saved = values_of(out / STORE)
    assert saved["join"]["rules"] == {"accept": 2}
    with pytest.raises(ConfigError, match=r"checkpoint was made by rule accept 2, this program k"):
        replay(loaded(logs), *paths, out, resume=True)
    replay(loaded(logs), *paths, out, resume=True, version=later)
    tables = [pq.read_table(path) for path in sorted((out / EXAMPLES).iterdir())]
    rows = [(row["src_row"], row["ts"] % 2) for table in tables for row in table.to_pylist()]
    assert any(odd for row, odd in rows if row <= at)
    assert not any(odd for row, odd in rows if row > at)
    letters = [json.loads(x) for x in (out / "dead-letter.ndjson").read_text().splitlines()]
    refused = [x for x in letters if x["reason"] == "odd" and x["source"] == "impressions"]
    assert len(refused) > 100
    assert min(x["src_row"] for x in refused) > at


def written(logs: SmallLogs, folder: Path, **changes: str) -> settings.Settings:
    """Settings in which nobody has set `beta`, and `lateness` only if asked."""
    text = logs.config.read_text().replace('lateness = "5s"\n', "")
    for section, line in changes.items():
        text = text.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1)
    path = folder / "config.toml"
    path.write_text(text)
    return settings.load(path)


def test_a_replay_keeps_the_defaults_it_began_with(logs: SmallLogs, tmp_path: Path) -> None:
    paths, out = (str(logs.impressions), str(logs.clicks)), tmp_path / "out"
    # As the version before wrote it, whose defaults these were.
    old = written(logs, tmp_path, join='lateness = "7s"', learner="beta = 3.0")
    fields = {
        name: field.model_copy(update={"mantissa_bits": 2})
        for name, field in old.features.fields.items()
    }
    features = old.features.model_copy(update={"fields": fields})
    topics = old.topics.model_copy(update={"max_skew": 9000})
    old = old.model_copy(update={"features": features, "topics": topics})
    with pytest.raises(Stopped):
        replay(old, *paths, out, stop=stops_after(5))
    now = written(logs, tmp_path)
    with pytest.raises(ConfigError, match=r"beta: 1\.0 here, 3\.0 in the checkpoint"):
        replay(now, *paths, out, resume=True)
    with pytest.raises(Stopped):
        replay(now, *paths, out, resume=True, stop=stops_after(1), version=NEWER)
    saved = values_of(out / STORE)
    assert saved["settings"]["learner"]["beta"] == 3.0
    assert saved["settings"]["join"]["lateness"] == 7000
    assert "rules" not in saved["join"]
    with pytest.raises(ConfigError, match=r"beta: 1\.0 here, 3\.0 in the checkpoint"):
        replay(
            written(logs, tmp_path, learner="beta = 1.0"), *paths, out, resume=True, version=NEWER
        )
    with pytest.raises(Stopped):
        replay(now, *paths, tmp_path / "new", stop=stops_after(1), version=NEWER)
    saved = values_of(tmp_path / "new" / STORE)
    assert saved["settings"]["learner"]["beta"] == 1.0
    assert saved["join"]["rules"] == {"defaults": 3}
    with pytest.raises(Stopped):
        replay(now, *paths, tmp_path / "new", resume=True, stop=stops_after(1), version=NEWER)
    with pytest.raises(ConfigError, match="made by rule defaults 3, this program knows up to 1"):
        replay(now, *paths, tmp_path / "new", resume=True)


def test_a_learner_keeps_the_defaults_it_began_with(logs: SmallLogs, tmp_path: Path) -> None:
    def learning(values: settings.Settings, name: str, version: Version) -> OnlineTrainer:
        metrics = LearnMetrics(dict, lambda: True)
        return OnlineTrainer(values, tmp_path / name, "labelled", 1, None, metrics, version)

    def beta(one: OnlineTrainer) -> float:
        found = one.training.settings.learner.beta
        one.save(0.0)
        one.close(0.0, save=False)
        return found

    before = {2: {"learner.beta": 3.0}}
    newer = Version(RuleNumbers(defaults=2), before)
    old, now = written(logs, tmp_path, learner="beta = 3.0"), written(logs, tmp_path)
    assert beta(learning(old, "old", Version())) == 3.0
    assert beta(learning(now, "old", newer)) == 3.0
    assert "rules" not in values_of(tmp_path / "old")
    assert beta(learning(now, "new", newer)) == 1.0
    assert values_of(tmp_path / "new")["rules"] == {"defaults": 2}
    assert beta(learning(now, "new", newer)) == 1.0
    with pytest.raises(ConfigError, match="made by rule defaults 2"):
        learning(now, "new", Version())


def test_a_topic_keeps_the_defaults_it_began_with(
    logs: SmallLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = written(logs, tmp_path)
    setup, at = setup_of(values, NEWER), config_of(values, NEWER)
    assert setup.begun_by(1).join.lateness == 7000
    assert setup.begun_by(2).join.lateness == setup.begun_by(3).join.lateness == 10_000
    assert setup.begun_by(1).rules == RuleNumbers(defaults=1)
    assert at.older_skew is not None
    assert (at.older_skew(1), at.older_skew(2)) == (9000, values.topics.max_skew)
    # What the environment sets is set.
    monkeypatch.setenv("CLICKLOOP_JOIN__LATENESS", "11s")
    assert setup_of(written(logs, tmp_path), NEWER).begun_by(1).join.lateness == 11_000


def test_the_oldest_change_after_a_store_began_counts(logs: SmallLogs, tmp_path: Path) -> None:
    values = written(logs, tmp_path)
    betas = [NEWER.settings(values, number).learner.beta for number in (1, 2, 3)]
    assert betas == [3.0, 2.0, values.learner.beta]


def test_what_is_set_must_go_with_the_defaults_of_then(logs: SmallLogs, tmp_path: Path) -> None:
    version = Version(RuleNumbers(defaults=2), {2: {"join.correction_horizon": "45d"}})
    text = logs.config.read_text()
    (tmp_path / "config.toml").write_text(text.replace('correction_horizon = "15m"\n', ""))
    values = settings.load(tmp_path / "config.toml")
    with pytest.raises(ConfigError, match=r"(?s)horizon = '45d' of when this began.*more than"):
        version.settings(values, 1)


def test_a_setting_that_a_store_does_not_know_had_its_default(logs: SmallLogs) -> None:
    values = settings.load(logs.config)
    saved = values.model_dump(mode="json")
    known = saved["learner"].pop("beta")
    del saved["spill"]  # a whole section
    assert differences(values, saved, set()) == []
    other = values.learner.model_copy(update={"beta": known + 1})
    told = differences(values.model_copy(update={"learner": other}), saved, set())
    assert told == [f"[learner] beta: {known + 1} here, {known} in the checkpoint"]
