"""Producers on a real broker: what they send arrives, once, where it belongs, or is told."""

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer as RdKafka
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError

from streams.compute.murmur2 import partition_of
from streams.deadletter import DeadLetter, Source
from streams.errors import ClickloopError, DataError
from streams.files.logs import open_log
from streams.kafka.chunk import Partition
from streams.kafka.codec import Decoder
from streams.kafka.produce.encoder import json_objects, message_columns
from streams.kafka.produce.event import encode_event
from streams.kafka.produce.in_flight import DeliveryError, Failure, ProducerSettings
from streams.kafka.produce.producer import ClickProducer, ImpressionProducer
from streams.kafka.settings import KafkaSettings
from streams.record import RecordType
from tests.support import needs
from tests.support.log_files import SCHEMA, Row, click, impression, line, read, write_lines
from tests.support.tiers import tries
from tests.support.waiting import PATIENCE_S
from tests.system.kafka.broker import Broker
from tests.system.kafka.jars import fetched
from tests.system.kafka.messages import Message, arrow_rows, stored
from tests.system.kafka.topics import create, unique

IMPRESSIONS, CLICKS = RecordType("impressions", SCHEMA), RecordType("clicks", SCHEMA)
RECORDS: dict[Source, RecordType] = {"impressions": IMPRESSIONS, "clicks": CLICKS}
PARTITIONS = 3
SKEW = 60_000
EVENTS = [impression(i, query_id=f'"q\\{i}\n', offset=0.1 * i) for i in range(60)]

Topic = Callable[[], str]


@pytest.fixture
def topic(kafka: str) -> Topic:
    """Makes topics."""

    def make() -> str:
        name = unique("events")
        create(kafka, name, partitions=PARTITIONS)
        return name

    return make


def at(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka)


def decoded(kafka: str, topic: str, source: Source = "impressions") -> tuple[list[Row], Any]:
    """All rows of a topic by id, without their places; and the letters."""
    rows: list[Row] = []
    letters: list[DeadLetter] = []
    for number in range(PARTITIONS):
        decoder = Decoder(RECORDS[source], Partition(topic, number), PARTITIONS, SKEW)
        chunk = decoder.decode(stored(kafka, topic, number))
        rows += chunk.rows.drop_columns(["src_offset", "src_row"]).to_pylist()
        letters += chunk.rejected
    return sorted(rows, key=lambda row: str(row["impression_id"])), letters


def in_file(folder: Path, events: Sequence[Row], source: Source = "impressions") -> list[Row]:
    """What a file with the same events gives, by id."""
    got = read(write_lines(folder / "log.ndjson", map(line, events)), source)
    assert not got.letters
    for row in got.rows:
        del row["src_offset"], row["src_row"]
    return sorted(got.rows, key=lambda row: str(row["impression_id"]))


def test_both_formats_and_both_mixed_give_the_rows_of_a_file(
    kafka: str, topic: Topic, tmp_path: Path
) -> None:
    single, batches, mixed = topic(), topic(), topic()
    with ImpressionProducer(single, SCHEMA, at(kafka)) as producer:
        for event in EVENTS:
            producer.send(event)
    with ImpressionProducer(batches, SCHEMA, at(kafka)) as producer:
        producer.send_batch(arrow_rows(EVENTS, IMPRESSIONS))
    with ImpressionProducer(mixed, SCHEMA, at(kafka)) as producer:
        for start in range(0, 60, 20):
            for event in EVENTS[start : start + 10]:
                producer.send(event)
            producer.send_batch(arrow_rows(EVENTS[start + 10 : start + 20], IMPRESSIONS, True))
    expected = in_file(tmp_path, EVENTS)
    for name in (single, batches, mixed):
        assert decoded(kafka, name) == (expected, [])
    keys = {message.key for message in stored(kafka, single, 0)}
    assert keys == {
        event["impression_id"].encode()
        for event in EVENTS
        if partition_of(event["impression_id"].encode(), PARTITIONS) == 0
    }


def test_clicks(kafka: str, topic: Topic, tmp_path: Path) -> None:
    events = [click(i, type=("click", "hide")[i % 2], impression_ts=5) for i in range(20)]
    name = topic()
    with ClickProducer(name, SCHEMA, at(kafka)) as producer:
        for event in events[:10]:
            producer.send(event)
        producer.send_batch(arrow_rows(events[10:], CLICKS))
    assert decoded(kafka, name, "clicks") == (in_file(tmp_path, events, "clicks"), [])


def test_rows_of_a_log_as_json(kafka: str, topic: Topic, tmp_path: Path) -> None:
    name = topic()
    path = write_lines(tmp_path / "in.ndjson", map(line, EVENTS))
    with ImpressionProducer(name, SCHEMA, at(kafka)) as producer:
        for chunk in open_log(path, SCHEMA, "impressions"):
            producer.send_rows(chunk.rows, as_json=True)
    assert decoded(kafka, name) == (in_file(tmp_path, EVENTS), [])


TEXT = st.text(max_size=6)
EVENT = st.fixed_dictionaries(
    {
        "impression_id": st.text(min_size=1, max_size=20),
        "ts": st.integers(0, 1 << 45),
        "features": st.fixed_dictionaries(
            {},
            optional={
                "item": TEXT | st.none(),
                "price": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
                "size": st.integers(-(1 << 63), (1 << 63) - 1),
                "tags": st.lists(TEXT, max_size=3) | st.none(),
                "new": st.booleans(),
            },
        ),
    },
    optional={
        "offset": st.floats(allow_nan=False, allow_infinity=False),
        "weight": st.floats(1e-9, 1e9),
        "query_id": TEXT,
        "position": st.integers(0, 9),
    },
)


@settings(max_examples=tries(60))
@given(st.lists(EVENT, min_size=1, max_size=6))
def test_json_of_rows_is_read_as_the_same_rows(events: list[Row]) -> None:
    decoder = Decoder(IMPRESSIONS, Partition("t", 0), 1, 1 << 50)
    rows = decoder.decode([Message(i, line(event)) for i, event in enumerate(events)]).rows
    assert len(rows) == len(events)
    objects = json_objects(message_columns(rows, IMPRESSIONS), IMPRESSIONS).to_pylist()
    again = decoder.decode([Message(i, text) for i, text in enumerate(objects)])
    assert again.rejected == ()
    assert again.rows.to_pylist() == rows.to_pylist()


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", "é" * 65, 0, -1, 1, 1.5, True, [], ["a"], [None], {}, 1 << 53, 1 << 70, "click"]
)


@settings(max_examples=tries(300))
@given(st.sampled_from(["impressions", "clicks"]), st.data())
@example("impressions", None)
def test_a_producer_accepts_what_readers_accept(source: Source, data: st.DataObject | None) -> None:
    event = impression(1) if source == "impressions" else click(1)
    if data is not None:
        names = [*RECORDS[source].members, "features", "zz"]
        for name in data.draw(st.lists(st.sampled_from(names), max_size=2)):
            event[name] = data.draw(VALUES)
        if isinstance(event.get("features"), dict):
            field = data.draw(st.sampled_from([f.name for f in SCHEMA.fields]))
            event["features"] = event["features"] | {field: data.draw(VALUES)}
    decoder = Decoder(RECORDS[source], Partition("t", 0), 1, 1 << 60)
    letters = decoder.decode([Message(0, line(event))]).rejected
    if letters:
        with pytest.raises(DataError):
            encode_event(event, RECORDS[source])
    else:
        assert json.loads(encode_event(event, RECORDS[source])) == event


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (impression(1, ts="1"), 'ts is "1"; a whole number of milliseconds'),
        (impression(1, impression_id=""), "impression_id is"),
        (impression(1, weight=float("nan")), "the event cannot be JSON"),
        (impression(1, position=pa.scalar(3)), "the event cannot be JSON"),
        (impression(1, zz="x" * (1 << 20)), "at most 1048576 are expected"),
        ({"impression_id": "a", "ts": 1}, "features is missing"),
    ],
)
def test_bad_events_are_not_sent(event: Row, said: str) -> None:
    with pytest.raises(DataError, match=said):
        encode_event(event, IMPRESSIONS)


def test_a_bad_row_stops_its_batch(kafka: str, topic: Topic) -> None:
    name = topic()
    with ImpressionProducer(name, SCHEMA, at(kafka)) as producer:
        with pytest.raises(DataError, match=r"1 rows would be refused.*\n  row 1: weight is 0"):
            producer.send_batch(arrow_rows([impression(1), impression(2, weight=0.0)], IMPRESSIONS))
        with pytest.raises(DataError, match="no column ts"):
            producer.send_batch(pa.record_batch({"impression_id": ["a"]}))
    assert decoded(kafka, name) == ([], [])


@pytest.mark.parametrize(
    "tuned",
    [ProducerSettings(batch_rows=7), ProducerSettings(message_bytes=4096)],
    ids=["rows", "bytes"],
)
def test_batches_are_divided(
    kafka: str, topic: Topic, tmp_path: Path, tuned: ProducerSettings
) -> None:
    chance = random.Random(1)
    events = [event | {"query_id": chance.randbytes(100).hex()} for event in EVENTS]
    name = topic()
    with ImpressionProducer(name, SCHEMA, at(kafka), tuned) as producer:
        producer.send_batch(arrow_rows(events, IMPRESSIONS))
    assert decoded(kafka, name) == (in_file(tmp_path, events), [])
    assert min(len(stored(kafka, name, number)) for number in range(PARTITIONS)) > 1


def test_a_row_that_fits_no_message(kafka: str, topic: Topic) -> None:
    huge = impression(1, query_id=random.Random(1).randbytes(3000).hex())
    tuned = ProducerSettings(message_bytes=4096)
    with ImpressionProducer(topic(), SCHEMA, at(kafka), tuned) as producer:
        with pytest.raises(DataError, match=r"id1: \d+ bytes, more than a message may have"):
            producer.send_batch(arrow_rows([huge], IMPRESSIONS))
        with pytest.raises(DataError, match=r"id1: \d+ bytes, more than a message may have"):
            producer.send(huge)


def test_what_the_broker_refuses_is_told_by_the_next_call(kafka: str) -> None:
    name = unique("small")
    create(kafka, name, partitions=PARTITIONS, max_message_bytes="2000")
    with ImpressionProducer(name, SCHEMA, at(kafka)) as producer:
        producer.send(impression(1))
        producer.send(impression(2, query_id="x" * 5000))
        with pytest.raises(DeliveryError) as caught:
            producer.flush()
        partition = partition_of(b"id2", PARTITIONS)
        (failure,) = caught.value.failures
        assert (failure.topic, failure.partition, failure.first_id) == (name, partition, "id2")
        assert f"{name}-{partition}: id2: " in str(caught.value)
        assert "MessageSizeTooLarge" in failure.reason or "larger" in failure.reason
        producer.flush()
        producer.send(impression(3))
    rows, _ = decoded(kafka, name)
    assert [row["impression_id"] for row in rows] == ["id1", "id3"]


class Stuck:
    """A message that is never acknowledged."""

    is_done = False

    def get(self, timeout: float) -> None:
        time.sleep(timeout)
        raise KafkaTimeoutError("no")


def flood(producer: ImpressionProducer) -> None:
    for i in range(300):
        producer.send(impression(i))


def test_memory_is_bounded(kafka: str, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = ProducerSettings(buffer_bytes=20_000, max_block=0.5, linger=0.0)
    name = topic()
    with ImpressionProducer(name, SCHEMA, at(kafka), tuned) as producer:
        for i in range(300):  # many times what may wait
            producer.send(impression(i))
            assert producer._buffer._bytes <= 20_000
        producer.flush()
        with monkeypatch.context() as patch:
            patch.setattr(producer._buffer._client, "send", lambda *_: Stuck())
            with pytest.raises(ClickloopError, match=r"nothing was acknowledged for 0\.5 s"):
                flood(producer)
        producer._buffer._in_flight.clear()
    assert len(decoded(kafka, name)[0]) == 300


def test_a_refused_batch_of_json_is_told(kafka: str, tmp_path: Path) -> None:
    name = unique("small")
    create(kafka, name, partitions=PARTITIONS, max_message_bytes="2000")
    long = [impression(i, query_id="x" * 5000) for i in range(9)]
    (chunk,) = open_log(write_lines(tmp_path / "in.ndjson", map(line, long)), SCHEMA, "impressions")
    tuned = ProducerSettings(request_bytes=1)
    with ImpressionProducer(name, SCHEMA, at(kafka), tuned) as producer:
        told = [
            *failures_of(lambda: producer.send_rows(chunk.rows, as_json=True)),
            *failures_of(producer.flush),
        ]
        assert sorted(failure.first_id for failure in told) == [x["impression_id"] for x in long]
        assert all("MessageSizeTooLarge" in failure.reason for failure in told)
        producer.send(impression(77))
    assert [row["impression_id"] for row in decoded(kafka, name)[0]] == ["id77"]


def failures_of(call: Callable[[], None]) -> tuple[Failure, ...]:
    try:
        call()
    except DeliveryError as error:
        return error.failures
    return ()


def test_without_a_broker_or_a_topic(kafka: str) -> None:
    tuned = ProducerSettings(max_block=1.0)
    with pytest.raises(ClickloopError, match=r"127\.0\.0\.1:1: .*is Kafka there"):
        ImpressionProducer("x", SCHEMA, at("127.0.0.1:1"), tuned)
    with pytest.raises(ClickloopError, match=r"nowhere.*`clickloop topics"):
        ImpressionProducer(unique("nowhere"), SCHEMA, at(kafka), tuned)


def sent_by_librdkafka(kafka: str, topic: str, **options: str) -> None:
    producer = RdKafka({"bootstrap.servers": kafka, **options})
    for event in EVENTS:
        producer.produce(topic, line(event), event["impression_id"].encode())
    assert producer.flush(PATIENCE_S) == 0


def test_librdkafka_lands_right_when_told_and_is_named_when_not(
    kafka: str, topic: Topic, tmp_path: Path
) -> None:
    told, untold = topic(), topic()
    sent_by_librdkafka(kafka, told, partitioner="murmur2_random")
    assert decoded(kafka, told) == (in_file(tmp_path, EVENTS), [])
    sent_by_librdkafka(kafka, untold)
    rows, letters = decoded(kafka, untold)
    assert len(rows) + len(letters) == len(EVENTS)
    assert len(letters) > len(EVENTS) // 3
    assert {letter.reason for letter in letters} == {"wrong_partition"}
    assert all("partitioner=murmur2_random" in letter.detail for letter in letters)


@pytest.mark.skipif(shutil.which("kcat") is None, reason=needs.KCAT)
def test_kcat_lands_right(kafka: str, topic: Topic, tmp_path: Path) -> None:
    name = topic()
    lines = [event["impression_id"].encode() + b"\t" + line(event) for event in EVENTS]
    options = ["-b", kafka, "-t", name, "-P", "-K", "\t", "-X", "partitioner=murmur2_random"]
    subprocess.run(["kcat", *options], input=b"\n".join(lines), check=True)
    assert decoded(kafka, name) == (in_file(tmp_path, EVENTS), [])


@pytest.fixture
def own_broker(kafka: str, tmp_path: Path) -> Iterator[Broker]:
    """A broker that may be ill-treated."""
    del kafka  # where it can run, so can this one
    if os.environ.get("CLICKLOOP_TEST_KAFKA"):
        needs.lacks(needs.OWN_KAFKA)
    broker = Broker(fetched(), tmp_path / "own")
    broker.start()
    yield broker
    broker.resume()
    broker.stop()


def test_a_broker_that_falls_silent_is_told_and_the_producer_goes_on(own_broker: Broker) -> None:
    name = unique("events")
    create(own_broker.address, name, partitions=PARTITIONS)
    tuned = ProducerSettings(max_block=5.0, delivery_timeout=2.0)
    with ImpressionProducer(name, SCHEMA, at(own_broker.address), tuned) as producer:
        producer.send(impression(1))
        producer.flush()
        own_broker.pause()
        producer.send(impression(2))
        with pytest.raises(DeliveryError, match=rf"{name}-\d: id2: "):
            producer.flush()
        own_broker.resume()
        producer.send(impression(3))
        producer.flush()
    rows, letters = decoded(own_broker.address, name)
    assert letters == []
    # Whether the second came through is what the producer could not know.
    assert {row["impression_id"] for row in rows} - {"id2"} == {"id1", "id3"}
