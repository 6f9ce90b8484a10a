"""The arithmetic of the measurements on Kafka; that they run at all, their commands show."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.kafka import labelled, learner
from benchmarks.kafka.latency import delays
from benchmarks.kafka.live import Sent
from benchmarks.kafka.naive import Naive
from benchmarks.kafka.pipeline import rate
from benchmarks.kafka.plant import closers
from benchmarks.kafka.restart import joined_at
from benchmarks.kafka.two_workers import lost_and_repeated
from deploy import settings
from streams.arrow_ipc import encode
from streams.compute.murmur2 import partition_of
from streams.kafka.chunk import MessageChunk, Partition, concat_chunks
from streams.labelled_log import Block, Cut, RecoveryPoint, Stop
from tests.support import trivago
from tests.system.kafka.messages import Message


def block(at: int, impressions: int, names: list[str] | None = None) -> labelled.Published:
    """A block that joined all impressions before an offset; names: of its examples."""
    stop = Stop((impressions - 1, 0), (0, 0), 0)
    cut = Cut((stop,), b"", b"", (None, None), 0, None, {})
    value = b""
    if names is not None:
        rows = pa.record_batch({"impression_id": pa.array(names)})
        value = encode([rows], rows.schema)
    base = RecoveryPoint(0, 0, (0, -1), (0, -1))
    return labelled.Published(
        at, Block("w", 0, 0, 1, base, len(names or ()), complete=True, cut=cut), value
    )


TOPIC = {
    0: [block(1_000, 10), block(2_000, 30), block(5_000, 60), block(9_000, 60)],
    1: [block(1_500, 20), block(2_500, 20), block(4_000, 50)],
}


def test_the_rate_is_that_up_to_the_last_batch() -> None:
    at, rows = np.array([6_000_000, 7_000_000]), np.array([30, 50])
    learned = learner.Learned(at, np.zeros(2, np.int64), rows, np.empty(0, np.int64))
    assert rate(learned, 5.0) == 40


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert learner.rows_in(tmp_path) == 0
    (tmp_path / "batches").write_bytes(np.array([7, 1, 2, 8, 0, 1]).tobytes())
    (tmp_path / "ts").write_bytes(np.array([10, 11, 12]).tobytes())
    assert learner.rows_in(tmp_path) == 3
    found = learner.read(tmp_path)
    parts = found.at, found.partition, found.rows, found.ts
    assert [part.tolist() for part in parts] == [[7, 8], [1, 0], [2, 1], [10, 11, 12]]


def test_a_delay_begins_when_both_logs_let_the_window_end() -> None:
    sent = Sent(1)
    ids = pa.array(["a", "b"])
    sent.note(0, ids, np.array([900, 1_000]), 1.0)
    sent.note(0, ids, np.array([1_500, 2_000]), 2.0)
    sent.note(1, ids, np.array([1_000, 1_100]), 1.1)
    sent.note(1, ids, np.array([1_900, 1_950]), 2.5)
    assert sent.rows == 4
    passed = sent.passed(0, np.array([950, 1_000, 1_949, 1_950])).tolist()
    assert passed == [1.1, 2.0, 2.5, math.inf]
    learned = learner.Learned(
        np.array([3_000_000]), np.array([0]), np.array([3]), np.array([450, 1_449, 1_450])
    )
    # The last one's window ended with the flow only.
    assert delays(learned, sent, 500).tolist() == pytest.approx([1.9, 0.5])


def test_rates_are_those_of_the_labelled_topic() -> None:
    assert labelled.joined_at(TOPIC[0], 999) == 0
    assert labelled.joined_at(TOPIC[0], 2_000) == 30
    assert labelled.all_publish(TOPIC, 0) == 1_500
    assert labelled.all_publish(TOPIC, 2_000) == 5_000
    assert labelled.first_done(TOPIC) == 4_000
    assert labelled.rate(TOPIC, 1_500, 4_000) == (20 + 30) / 2.5
    assert labelled.longest_pause(TOPIC, 0, 2_100) == 3.0
    assert labelled.longest_pause(TOPIC, 0, 1_900) == 1.0


def test_a_restart_is_over_when_every_partition_has_the_new_events() -> None:
    assert joined_at(TOPIC, {0: 29, 1: 49}) == 4_000
    assert joined_at(TOPIC, {0: 30, 1: 10}) == 5_000
    assert joined_at(TOPIC, {0: 60, 1: 10}) is None


def test_what_is_lost_and_what_is_repeated_is_counted() -> None:
    topic = {0: [block(0, 1, ["a", "b"]), block(1, 2), block(2, 3, ["b"])], 1: [block(0, 1, ["d"])]}
    expected = [pa.array(["a", "b"]), pa.array(["c", "d"])]
    assert lost_and_repeated(expected, labelled.ids(topic)) == (1, 1)
    assert lost_and_repeated(expected, expected) == (0, 0)


def test_closers_are_of_their_partition() -> None:
    for number in range(4):
        one, other = closers(number, 4)
        assert one != other
        assert {partition_of(name.encode(), 4) for name in (one, other)} == {number}


def test_chunks_become_one() -> None:
    where = Partition("t", 0)
    first = MessageChunk(where, 5, 8, [Message(5, b"a"), Message(7, b"b")], 1)
    second = MessageChunk(where, 8, 9, [Message(8, b"c")], 1)
    assert concat_chunks([first]) is first
    both = concat_chunks([first, second])
    assert (both.begin, both.end, [one.offset for one in both.messages]) == (5, 9, [5, 7, 8])


def test_the_naive_pipeline_labels_and_learns() -> None:
    values = settings.load(trivago.example("trivago.toml"))
    naive = Naive(values, 1)
    learned: list[tuple[str, int]] = []
    naive._learn = lambda row: learned.append((row["impression_id"], row["label"]))  # type: ignore[method-assign]
    hour = 3_600_000
    naive.click(0, {"impression_id": "early", "ts": 5})
    for name in ("early", "late", "plain"):
        naive.impression(0, {"impression_id": name, "ts": 0, "features": {}})
    naive.click(0, {"impression_id": "plain", "ts": 60_000})
    naive.click(0, {"impression_id": "late", "ts": hour})
    assert learned == []
    naive.impression(0, {"impression_id": "after", "ts": hour, "features": {}})
    assert learned == [("early", 1), ("late", 0), ("plain", 1)]


def test_the_naive_pipeline_uses_the_learner() -> None:
    naive = Naive(settings.load(trivago.example("trivago.toml")), 1)
    row = json.loads('{"features": {"city": "Bern", "price": 3.5, "filters": ["a"]}, "label": 1}')
    naive._learn(row)
    assert naive.learned == 1
    assert naive._learner.stats().examples == 1
    assert naive._learner.features == 9
