"""Topics made, filled and looked at through librdkafka, a client that shares no code with ours."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stub exports them not
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from tests.support.waiting import PATIENCE_S

Answer = TypeVar("Answer")


def unique(name: str) -> str:
    """A name that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def create(address: str, *names: str, partitions: int, **config: str) -> None:
    """Make topics; `config` keys have underscores for dots."""
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": address})
    topics = [NewTopic(name, partitions, 1, config=settings) for name in names]
    for made in admin.create_topics(topics).values():
        made.result(PATIENCE_S)


def set_topic(address: str, name: str, **config: str) -> None:
    """Change a topic's settings; `config` keys have underscores for dots."""
    resource = ConfigResource(ResourceType.TOPIC, name)
    for key, value in config.items():
        entry = ConfigEntry(
            key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET
        )
        resource.add_incremental_config(entry)
    admin = AdminClient({"bootstrap.servers": address})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(PATIENCE_S)


def delete_before(address: str, topic: str, partition: int, offset: int) -> None:
    """Delete what retention would: the records before `offset`."""
    admin = AdminClient({"bootstrap.servers": address})
    for done in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        done.result(PATIENCE_S)


Message = tuple[bytes, Mapping[str, bytes]]  # a value and its headers


def fill(
    address: str, topic: str, partition: int, values: Iterable[bytes | Message], **config: str
) -> None:
    """Append `values` to a partition, and wait until all of them are there."""
    options = {key.replace("_", "."): value for key, value in config.items()}
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, **options})
    failed = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            failed.append(error)

    for each in values:
        value, headers = each if isinstance(each, tuple) else (each, {})
        while True:
            try:
                producer.produce(
                    topic,
                    value,
                    partition=partition,
                    headers=list(headers.items()),
                    on_delivery=delivered,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0
    assert not failed, failed


def ends(address: str, topic: str, partition: int) -> tuple[int, int]:
    """The first offset of the log, and the one after its last."""
    place = TopicPartition(topic, partition)
    return _ask(address, "looking", lambda it: it.get_watermark_offsets(place, PATIENCE_S))


def committed(address: str, group: str, topic: str, partition: int) -> int | None:
    """What a group has committed."""
    place = TopicPartition(topic, partition)
    found = _ask(address, group, lambda it: it.committed([place], PATIENCE_S))[0].offset
    return found if found >= 0 else None


def _ask(address: str, group: str, question: Callable[[Consumer], Answer]) -> Answer:
    """An answer, asked for again while a broker that has just started knows no leaders yet."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        consumer = Consumer({"bootstrap.servers": address, "group.id": group})
        try:
            return question(consumer)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
        finally:
            consumer.close()
        time.sleep(0.2)
