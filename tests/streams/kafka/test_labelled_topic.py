"""Reading the labelled topic: the rows that count, each once, from wherever a reader left off."""

import json
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest

from deploy import settings
from streams.errors import ClickloopError, DataError
from streams.kafka.chunk import Partition
from streams.kafka.consume.labelled_topic import (
    Cursor,
    LabelledPartition,
    LabelledRows,
    read_labelled,
)
from streams.kafka.settings import KafkaSettings
from streams.labelled_log import HEADER_NAME
from tests.support import small_logs
from tests.support.labelled_logs import LabelledLog, labelled_logs
from tests.system.kafka.messages import Message
from tests.system.kafka.topics import create, delete_before, fill, unique

PARTITIONS = 2


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledLog]:
    """Partitions with claims in their middle and void blocks, one of them behind such a claim."""
    made = small_logs.write(tmp_path_factory.mktemp("logs"), rows=1500)
    labelled = labelled_logs(settings.load(made.config), made, PARTITIONS)
    assert all(log.void_rows for log in labelled)
    return labelled


def messages(log: LabelledLog) -> list[Message]:
    """A partition as a consumer hands it out."""
    return [
        Message(offset, each.value, ((HEADER_NAME, each.header),))
        for offset, each in enumerate(log.messages)
    ]


def examples(found: list[LabelledRows], number: int = 0) -> list[dict[str, Any]]:
    """All rows of a partition."""
    return [row for one in found if one.partition == number for row in one.rows.to_pylist()]


def test_the_rows_that_count_from_wherever_a_reader_left_off(logs: list[LabelledLog]) -> None:
    log = logs[0]
    whole = LabelledPartition(Partition("labelled", 0), Cursor())
    found = [one for each in messages(log) if (one := whole.take(each)) is not None]
    assert examples(found) == log.examples
    for number, one in enumerate(found):
        cursor = Cursor(*json.loads(json.dumps(one.cursor)))
        rest = LabelledPartition(Partition("labelled", 0), cursor)
        after = [rest.take(each) for each in messages(log)[cursor.offset :]]
        assert [each for each in after if each is not None] == found[number + 1 :]


def test_missing_messages_are_told(logs: list[LabelledLog]) -> None:
    reader = LabelledPartition(Partition("labelled", 0), Cursor())
    stored = messages(logs[0])
    first = next(at for at, each in enumerate(stored) if reader.take(each) is not None)
    with pytest.raises(DataError, match="are missing"):
        list(map(reader.take, stored[first + 5 :]))


@dataclass(frozen=True)
class Topic:
    """The logs on a broker."""

    name: str
    kafka: KafkaSettings


@pytest.fixture(scope="module")
def topic(kafka: str, logs: list[LabelledLog]) -> Topic:
    """The logs on the broker."""
    name = unique("labelled")
    create(kafka, name, partitions=PARTITIONS)
    for number, log in enumerate(logs):
        fill(
            kafka, name, number, [(each.value, {HEADER_NAME: each.header}) for each in log.messages]
        )
    return Topic(name, KafkaSettings(bootstrap_servers=kafka))


def test_of_a_broker_it_gives_exactly_the_rows_that_count(
    topic: Topic, logs: list[LabelledLog]
) -> None:
    found = list(read_labelled(topic.name, topic.kafka))
    assert [examples(found, number) for number in range(PARTITIONS)] == [x.examples for x in logs]
    first = found[: len(found) // 2]
    cursors = {one.partition: one.cursor for one in first}
    rest = list(read_labelled(topic.name, topic.kafka, cursors))
    for number, log in enumerate(logs):
        assert examples(first, number) + examples(rest, number) == log.examples


def test_it_follows_until_it_is_stopped(kafka: str, logs: list[LabelledLog]) -> None:
    name = unique("labelled")
    create(kafka, name, partitions=1)
    stored = [(each.value, {HEADER_NAME: each.header}) for each in logs[0].messages]
    fill(kafka, name, 0, stored[:20])
    found: list[LabelledRows] = []
    reader = read_labelled(
        name,
        KafkaSettings(bootstrap_servers=kafka),
        follow=True,
        stop=lambda: len(examples(found)) == len(logs[0].examples),
    )
    found += islice(reader, 1)
    fill(kafka, name, 0, stored[20:])
    for one in reader:
        found.append(one)
    assert examples(found) == logs[0].examples


def test_what_it_cannot_read_is_told(kafka: str, topic: Topic) -> None:
    settings = topic.kafka
    with pytest.raises(ClickloopError, match=r"no topic nothing-here.*topics create"):
        next(read_labelled("nothing-here", settings))
    with pytest.raises(DataError, match=r"no partitions \[7\]"):
        next(read_labelled(topic.name, settings, {7: Cursor()}))
    with pytest.raises(DataError, match="was the topic made anew"):
        next(read_labelled(topic.name, settings, {0: Cursor(10_000)}))
    name = unique("labelled")
    create(kafka, name, partitions=1)
    fill(kafka, name, 0, [(b"", {HEADER_NAME: b"[]"})])
    with pytest.raises(DataError, match="cannot be read"):
        list(read_labelled(name, settings))


def test_what_was_deleted_before_it_was_read_is_told(kafka: str, logs: list[LabelledLog]) -> None:
    name, settings = unique("labelled"), KafkaSettings(bootstrap_servers=kafka)
    create(kafka, name, partitions=1)
    fill(kafka, name, 0, [(each.value, {HEADER_NAME: each.header}) for each in logs[0].messages])
    first = next(read_labelled(name, settings))
    delete_before(kafka, name, 0, len(logs[0].messages) - 3)
    with pytest.raises(DataError, match="retention"):
        list(read_labelled(name, settings, {0: first.cursor}))
