"""Features that change while a model runs: added at any time, never reinterpreted."""

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy import compatibility, settings
from deploy.replay import inputs
from deploy.replay.replay import EXAMPLES, STORE, Stopped, replay
from deploy.storage import versions
from deploy.storage.checkpoint_store import CheckpointStore
from deploy.storage.rocksdb import Store
from deploy.workers.learn.metrics import LearnMetrics
from deploy.workers.learn.online_trainer import OnlineTrainer
from ftrl.features.compatibility import change
from ftrl.features.config import FeatureConfig
from ftrl.features.coordinates import Features
from ftrl.features.renamed_fields import RenamedFields
from streams.arrow_ipc import decode
from streams.compute.arrays import F64, U64
from streams.errors import ConfigError, DataError
from streams.files.logs import open_log
from tests.oracles.ftrl import Row
from tests.support import small_logs
from tests.support.columns import batch, config
from tests.support.labelled_logs import LabelledLog, labelled_logs
from tests.support.learning import arrays, predict, same_state
from tests.support.outcomes import outcome
from tests.support.small_logs import SmallLogs
from tests.system.simulation.check import counting_blocks

WORD = {"kind": "categorical"}
PRICE: dict[str, Any] = {"kind": "number"}
SPREAD: dict[str, Any] = {"kind": "number", "encoding": "quantile"}
BEFORE = config("a^b", a=WORD, b=WORD, price=PRICE, spread=SPREAD)


def now(*crosses: str, **changes: dict[str, Any] | None) -> FeatureConfig:
    """`BEFORE` with other fields; None takes one out."""
    fields: dict[str, Any] = {"a": WORD, "b": WORD, "price": PRICE, "spread": SPREAD, **changes}
    return config(*crosses, **{name: field for name, field in fields.items() if field is not None})


@pytest.mark.parametrize(
    "after",
    [
        now("a^b"),
        now("a^b", "b^a", "a^c", c=WORD),
        now("c^b", a=None, c={**WORD, "hash_as": "a"}),
        now("a^b", price={**PRICE, "serve_as": 3}, spread={**SPREAD, "mantissa_bits": 3}),
        now("a^b", price={**PRICE, "quantiles": 7, "hash_as": "price"}),
    ],
)
def test_what_is_added_renamed_or_unused_is_legal(after: FeatureConfig) -> None:
    assert change(BEFORE, after).problems == ()


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (now("a^b", a={"kind": "list"}), r"fields\.a: kind was 'categorical', now it is 'list'"),
        (now("a^b", b={**WORD, "dtype": "int"}), r"fields\.b: dtype was 'string', now it is 'int'"),
        (now("a^b", price={**PRICE, "mantissa_bits": 2}), r"fields\.price: mantissa_bits was 1"),
        (now("a^b", price={**PRICE, "encoding": "value"}), r"fields\.price: encoding was 'bucket'"),
        (now("a^b", spread={**SPREAD, "quantiles": 9}), r"fields\.spread: quantiles was 20"),
        (now("a^b", spread={**SPREAD, "edges": (1,)}), r"fields\.spread: edges was None"),
        (now("a^b", b={**WORD, "hash_as": "c"}), r"fields\.b: hashed as 'b', now as 'c'"),
        (now("a^b", price=None), r"fields\.price: is gone.*hash_as = \"price\""),
        (now("a^b", c={**WORD, "hash_as": "a"}), r"fields\.c: hashes as 'a', as a did"),
        (now("b^a"), r"crosses: a\^b is gone, or its parts are in another order"),
    ],
)
def test_what_would_give_old_weights_another_meaning_is_named(
    after: FeatureConfig, message: str
) -> None:
    problem, *_ = change(BEFORE, after).problems
    assert re.match(message, problem), problem


def test_two_fields_that_hash_alike_are_told_apart_by_their_names() -> None:
    alike = {**WORD, "hash_as": "z"}
    before = config("x^a", x=alike, y=alike, a=WORD)
    assert change(before, config("x^a", y=alike, x=alike, a=WORD)).problems == ()
    found = change(before, config("x^a", "y^a", x=alike, y=alike, a=WORD)).problems
    assert [text[:32] for text in found] == ["crosses: y^a hashes as one that "]
    assert re.match(
        r"fields\.y: is gone.*\"z\"", change(before, config("x^a", x=alike, a=WORD)).problems[0]
    )


def test_a_column_is_found_under_the_names_it_had() -> None:
    second = now("c^b", a=None, c={**WORD, "hash_as": "a"}, new=WORD, slot={"kind": "position"})
    third = now("d^b", a=None, d={**WORD, "hash_as": "a"}, new=WORD, slot={"kind": "position"})
    renamed = RenamedFields().since(BEFORE, second).since(second, third)
    assert renamed.previous_names == {"d": ["c", "a"], "new": []}
    schema = pa.schema([("features.d", pa.string()), ("features.new", pa.string())])
    for name in ("a", "c", "d"):
        batch = pa.RecordBatch.from_pydict({f"features.{name}": ["x"]})
        assert renamed.select(batch, schema).to_pylist() == [
            {"features.d": "x", "features.new": None}
        ]
        assert renamed.absent(batch.schema.names) == ["features.new"]
    with pytest.raises(KeyError, match=r"features\.d"):
        renamed.select(pa.RecordBatch.from_pydict({"features.d": [1]}), schema)


def test_a_name_given_to_another_field_is_not_mistaken() -> None:
    second = now("c^b", a=None, c={**WORD, "hash_as": "a"})
    third = now("c^b", a={**WORD, "hash_as": "other"}, c={**WORD, "hash_as": "a"})
    renamed = RenamedFields().since(BEFORE, second).since(second, third)
    schema = pa.schema([("features.a", pa.string()), ("features.c", pa.string())])
    for there, expected in (
        ({"a": "old"}, [None, "old"]),
        ({"c": "old"}, [None, "old"]),
        ({"a": "new", "c": "old"}, ["new", "old"]),
    ):
        batch = pa.RecordBatch.from_pydict({f"features.{k}": [v] for k, v in there.items()})
        assert list(renamed.select(batch, schema).to_pylist()[0].values()) == expected


# -- through the real store -------------------------------------------------------------------

MORE = (
    small_logs.EVERYTHING_ON.replace('["ad^city"]', '["ad^city", "ad^city^new"]')
    .replace(
        'price = { kind = "number" }',
        'price = { kind = "number", encoding = "quantile", learn_edges_from = 100 }',
    )
    .replace("rotate_every = 300", "rotate_every = 300\nthresholds = { new = 0 }")
)
FEWER = "".join(
    line
    for line in small_logs.EVERYTHING_ON.splitlines(keepends=True)
    if not line.startswith(("price", "new"))
)
OTHER = FEWER.replace('city = { kind = "categorical" }', 'city = { kind = "list" }')


BAD = 40  # every so many rows `new` is of the wrong type


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> SmallLogs:
    return small_logs.write(tmp_path_factory.mktemp("logs"), rows=1200)


def loaded(folder: Path, text: str) -> settings.Settings:
    path = folder / "config.toml"
    path.write_text(text)
    return settings.load(path)


def stops_after(steps: int) -> Callable[[], bool]:
    left = iter(range(steps))
    return lambda: next(left, None) is None


def keys_of_new() -> U64:
    """The coordinates of `new`: true, false, missing."""
    flags = batch(new=pa.array([True, False, None]))
    return Features(config(new={"kind": "boolean"})).coordinates(flags).keys


def spoilt(impressions: Path, folder: Path, which: slice = slice(None, None, BAD)) -> Path:
    """The same log with a `new` of the wrong type in some rows: for older settings nothing."""
    lines = impressions.read_text().splitlines()
    lines[which] = [re.sub(r'"new": (true|false)', '"new": 7', line) for line in lines[which]]
    path = folder / "spoilt.ndjson"
    path.write_text("\n".join(lines))
    return path


def test_a_replay_goes_on_with_more_features(
    logs: SmallLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And after that as any: stopped once more or not, it comes to the same bytes."""
    monkeypatch.setattr(inputs, "open_log", functools.partial(open_log, block_rows=150))
    paths = str(spoilt(logs.impressions, tmp_path)), str(logs.clicks)
    fewer, more, other = (loaded(tmp_path, text) for text in (FEWER, MORE, OTHER))
    found = []
    for stops in ([4], [4, 1, 2]):
        out = tmp_path / f"{len(stops)}"
        for number, steps in enumerate(stops):
            values = more if number else fewer
            with pytest.raises(Stopped):
                replay(values, *paths, out, resume=True, stop=stops_after(steps))
            if number == 0:
                with Store(out / STORE, read_only=True) as store:
                    at = (CheckpointStore(store).values or {})["inputs"]["impressions"]["at"][0][1]
        with pytest.raises(ConfigError, match=r"\[features\] fields\.city: kind was 'categorical'"):
            replay(other, *paths, out, resume=True)
        replay(more, *paths, out, resume=True)
        found.append(outcome(out))
        # A table that was restored may have grown at another moment.
        del found[-1]["metrics"]["model"]["bytes"]
    assert found[0] == found[1]
    with pytest.raises(ConfigError, match="the run is over, so nothing would be learned"):
        replay(
            loaded(tmp_path, MORE.replace("serve_as = 0", "serve_as = 1")), *paths, out, resume=True
        )

    # A row has the fields that were declared when it was read.
    parts = [pq.read_table(path) for path in sorted((out / EXAMPLES).iterdir())]
    rows = pa.concat_tables(parts, promote_options="default").to_pylist()
    truth = {row["src_row"]: row["features"].get("new") for row in logs.shown}
    before = [row for row in rows if row["src_row"] <= at]
    assert any((row["src_row"] - 1) % BAD == 0 for row in before)
    assert all(row["features.new"] is None for row in before)
    after = [row for row in rows if row["src_row"] > at]
    assert len(after) > 100
    assert all(row["features.new"] == truth[row["src_row"]] for row in after)
    letters = [json.loads(line) for line in found[0]["letters"].splitlines()]
    refused = [letter["src_row"] for letter in letters if "features.new" in letter["detail"]]
    assert refused
    assert min(refused) > at

    # A scorer of a version has the features it was learned with.
    with Store(out / STORE, read_only=True) as store:
        of_versions = [each.features.fields.keys() for each in versions.manifests(store)]
        manifest, _ = versions.load(store)
    assert of_versions[0] == fewer.features.fields.keys()
    assert of_versions[-1] == more.features.fields.keys()
    assert manifest.features.fields["price"].edges
    assert np.isin(keys_of_new(), np.frombuffer(found[0]["weights"][0], np.uint64)).all()


def test_features_that_are_no_longer_taken_are_told(tmp_path: Path) -> None:
    values = loaded(tmp_path, MORE)
    saved = values.model_dump(mode="json")
    saved["features"]["crosses"] = ["ad^city^new^price"]
    with pytest.raises(ConfigError, match=r"does not take \(.*two or three .*\); go on with"):
        compatibility.differences(values, saved, set())


def test_a_log_without_the_new_column_leaves_the_run_as_it_was(
    logs: SmallLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "open_log", functools.partial(open_log, block_rows=150))
    fewer, more = loaded(tmp_path, FEWER), loaded(tmp_path, MORE)
    rows = [chunk.rows for chunk in open_log(str(logs.impressions), fewer.events, "impressions")]
    shown = tmp_path / "impressions.parquet"
    pq.write_table(pa.Table.from_batches(rows), shown)
    paths, out = (str(shown), str(logs.clicks)), tmp_path / "out"
    with pytest.raises(Stopped):
        replay(fewer, *paths, out, stop=stops_after(3))
    with pytest.raises(DataError, match=r"no column features\.(new|price) for the impressions"):
        replay(more, *paths, out, resume=True)
    replay(fewer, *paths, out, resume=True)


class Node:
    """A learner of one partition, without Kafka: what it is told, it learns."""

    def __init__(self, values: settings.Settings, folder: Path, source: Path | None = None) -> None:
        metrics = LearnMetrics(dict, lambda: True)
        self.learning = OnlineTrainer(values, folder, "labelled", 1, source, metrics)

    def take(self, log: LabelledLog, end: int) -> None:
        """Learn from the messages up to `end`, from where it is."""
        for offset in range(self.learning.following().get(0, 0), end):
            message = log.messages[offset]
            self.learning.take(0, message.entry(offset), message.value, f"offset {offset}")

    def logits(self, rows: pa.RecordBatch) -> F64:
        """What the model says of impressions."""
        training = self.learning.training
        found = training.features.coordinates(rows)
        asked = arrays([Row(())] * rows.num_rows)
        asked["indptr"], asked["keys"], asked["values"] = found.indptr, found.keys, found.values
        return predict(training.learner, asked)

    def knows(self) -> list[bool]:
        """Which values of `new` (true, false, missing) are in its table."""
        known: list[bool] = np.isin(keys_of_new(), self.state()["keys"]).tolist()
        return known

    def state(self) -> dict[str, Any]:
        return self.learning.training.learner.state()

    def close(self) -> dict[str, Any]:
        """Save, and end; what it had come to."""
        state = self.state()
        self.learning.close(0.0, save=True)
        return state


@pytest.fixture(scope="module")
def topic(logs: SmallLogs, tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledLog, int]:
    """A labelled topic whose join worker gets more features on its way; the first such block."""
    folder = tmp_path_factory.mktemp("topic")
    fewer, more = loaded(folder, FEWER), loaded(folder, MORE)
    (log,) = labelled_logs(fewer, logs, 1, later=more, turns=35)
    those = [has_new(value) for _, value in counting_blocks(log.messages) if value]
    assert those == sorted(those), "first without, then with"
    return log, [has_new(each.value) for each in log.messages].index(True)


def has_new(value: bytes) -> bool:
    """Whether a block has the new columns."""
    return bool(value) and "features.new" in decode(value, "a block")[0].schema.names


def test_a_join_worker_says_so_when_new_fields_refuse_a_row_it_had_taken(
    logs: SmallLogs, tmp_path: Path
) -> None:
    """Also one that was decided before it stopped, of which nothing but the count is left."""
    fewer, more = loaded(tmp_path, FEWER), loaded(tmp_path, MORE)
    bad = replace(logs, impressions=spoilt(logs.impressions, tmp_path, slice(24, 25)))
    with pytest.raises(DataError, match="does a field that was added"):
        labelled_logs(fewer, bad, 1, later=more, turns=35)


@pytest.mark.parametrize("copied", [False, True])
def test_a_learner_goes_on_with_more_features(
    topic: tuple[LabelledLog, int],
    logs: SmallLogs,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    copied: bool,
) -> None:
    """In its own store, or from it in another; messages joined before have missing values."""
    (log, first), end = topic, len(topic[0].messages)
    fewer, more = loaded(tmp_path, FEWER), loaded(tmp_path, MORE)
    node = Node(fewer, tmp_path / "a")
    node.take(log, first // 2)
    rows = next(iter(open_log(str(logs.impressions), more.events, "impressions"))).rows
    before = node.logits(rows)
    node.close()
    with pytest.raises(ConfigError, match=r"\[features\] fields\.city: kind was 'categorical'"):
        Node(loaded(tmp_path, OTHER), tmp_path / "a")

    folder, source = (tmp_path / "b", tmp_path / "a") if copied else (tmp_path / "a", None)
    node = Node(more, folder, source)
    assert (node.logits(rows) == before).all(), "what is new weighs nothing yet"
    node.take(log, first)
    assert node.knows() == [False, False, True]
    assert caplog.text.count("were joined without features.new, features.price") == 1
    saved = node.close()
    node = Node(more, folder)
    assert same_state(node.state(), saved)
    node.take(log, end)
    assert all(node.knows())
    node.close()


def test_a_join_worker_may_have_the_new_fields_first(
    topic: tuple[LabelledLog, int], tmp_path: Path
) -> None:
    """A learner that does not know them takes no notice, and can be told at any time."""
    (log, first), end = topic, len(topic[0].messages)
    middle = (first + end) // 2
    node = Node(loaded(tmp_path, FEWER), tmp_path / "store")
    node.take(log, middle)
    node.close()
    node = Node(loaded(tmp_path, MORE), tmp_path / "store")
    assert node.knows() == [False, False, False]
    node.take(log, end)
    assert node.knows()[:2] == [True, True]
    node.close()
