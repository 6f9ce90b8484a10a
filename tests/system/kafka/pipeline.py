"""A join on a real broker: events in, workers, and what they left compared with brute force."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streams.deadletter import DeadLetter, Source
from streams.kafka.chunk import Partition
from streams.kafka.codec import Decoder
from streams.labelled_log import HEADER_NAME
from streams.record import RecordType
from streams.schema import EventSchema
from tests.oracles.join import OracleJoin
from tests.support.waiting import PATIENCE_S, eventually
from tests.system.kafka.topics import create, ends
from tests.system.kafka.workers.join import Joining
from tests.system.simulation.check import counting_blocks, replayed, void_blocks
from tests.system.simulation.workers import rows_of
from tests.system.simulation.world import InputLog, Message, World

KINDS: tuple[Source, Source] = ("impressions", "clicks")


@dataclass(frozen=True)
class Seen:
    """A message of a topic, with the names that `Decoder` reads."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def make_topics(joining: Joining, labelled_bytes: int | None = None) -> None:
    """The five topics of a join; labelled_bytes: the most a labelled message may have."""
    topics = joining.topics
    others = (*topics.inputs, topics.dead_letters, topics.late_clicks)
    names = (*others, topics.labelled)
    settings = {"message_timestamp_type": "LogAppendTime"}
    create(joining.address, *others, partitions=joining.partitions, **settings)
    if labelled_bytes is not None:
        settings["max_message_bytes"] = str(labelled_bytes)
    create(joining.address, topics.labelled, partitions=joining.partitions, **settings)

    def there() -> bool:
        try:
            return all(
                ends(joining.address, name, number) == (0, 0)
                for name in names
                for number in range(joining.partitions)
            )
        except KafkaException:
            return False

    eventually(there)


def produce(joining: Joining, source: int, events: Iterable[dict[str, Any]]) -> None:
    """Send events as single JSON messages, keyed by their id, as another client would."""
    settings = {
        "bootstrap.servers": joining.address,
        "partitioner": "murmur2_random",
        "enable.idempotence": True,
        "linger.ms": 5,
    }
    producer = Producer(settings)
    for event in events:
        key = str(event.get("impression_id", ""))
        producer.produce(joining.topics.inputs[source], json.dumps(event), key=key)
        producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0


def messages(address: str, topic: str, number: int) -> list[Seen]:
    """Every message of a partition."""
    _, end = ends(address, topic, number)
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, number, 0)])
    found: list[Seen] = []
    while len(found) < end:
        for one in consumer.consume(10_000, 1.0):
            assert one.error() is None
            offset, headers = one.offset(), one.headers()
            assert offset is not None
            named: Any = headers or []  # pairs, whatever the stub says
            found.append(Seen(offset, one.timestamp()[1], one.key(), one.value(), list(named)))
    consumer.close()
    return found


def world_of(joining: Joining, number: int) -> World:
    """What the topics hold of a partition, for `tests.system.simulation.check`."""
    schema = joining.schema
    logs = tuple(_input(joining, source, number, schema) for source in (0, 1))
    world = World(Random(0), schema, (logs[0], logs[1]))
    world.labelled = labelled_messages(joining, number)
    return world


def labelled_messages(joining: Joining, number: int) -> list[Message]:
    """Claims and blocks of a partition."""
    found = messages(joining.address, joining.topics.labelled, number)
    return [Message(dict(one.headers)[HEADER_NAME], one.value or b"") for one in found]


def is_joined(joining: Joining, number: int) -> bool:
    """Whether the last cut that counts is at the end of both inputs."""
    blocks = counting_blocks(labelled_messages(joining, number))
    cuts = [block.cut for block, _ in blocks if block.cut is not None]
    if not cuts or not blocks[-1][0].complete:
        return False
    places = cuts[-1].end.impressions, cuts[-1].end.clicks
    last = [ends(joining.address, topic, number)[1] - 1 for topic in joining.topics.inputs]
    return [offset for offset, _ in places] == last


def _input(joining: Joining, source: int, number: int, schema: EventSchema) -> InputLog:
    name = joining.topics.inputs[source]
    record = RecordType(KINDS[source], schema)
    decoder = Decoder(record, Partition(name, number), joining.partitions, 60_000)
    seen = messages(joining.address, name, number)
    chunk = decoder.decode(seen)
    assert chunk.clock is not None
    letters: list[DeadLetter] = list(chunk.rejected)
    return InputLog(KINDS[source], chunk.rows, np.asarray(chunk.clock), letters, len(seen))


def checked(joining: Joining) -> Iterator[tuple[World, OracleJoin]]:
    """Of each partition: every example that counts is the oracle's, in its order, and no other."""
    for number in range(joining.partitions):
        world = world_of(joining, number)
        blocks = counting_blocks(world.labelled)
        world.count("void blocks", void_blocks(world.labelled))
        assert [block.number for block, _ in blocks] == list(range(1, len(blocks) + 1))
        cuts = [block.cut for block, _ in blocks if block.cut is not None]
        oracle, _ = replayed(world, cuts)
        published = [row for _, value in blocks for row in rows_of(value)]
        expected = [
            {name: value for name, value in row.items() if name != "clock"}
            for row in oracle.labelled
        ]
        assert published == expected
        yield world, oracle
