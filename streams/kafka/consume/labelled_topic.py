"""The labelled topic for services of one's own: the examples that count, each exactly once.

    for block in read_labelled("labelled", KafkaSettings()):
        train(block.rows)
        save(block.partition, block.cursor)

A reader belongs to no consumer group and commits nothing. All that it must know to read on is in
the cursors. If a service saves a cursor in the same transaction as the results of the rows before
it, each row counts once.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from streams.arrow_batches import concat_batches
from streams.arrow_ipc import decode
from streams.errors import ClickloopError, DataError
from streams.kafka.chunk import Message, Partition
from streams.kafka.client_errors import translated_errors
from streams.kafka.consume.labelled import entry_of, message_location
from streams.kafka.security import client_options
from streams.kafka.settings import KafkaSettings
from streams.labelled_log import FencingFilter

_POLL_MS = 500
_PATIENCE_MS = 30_000  # to find a first broker


class Cursor(NamedTuple):
    """Where to read on in a partition; plain numbers, which survive JSON as a list.

    offset: of the next message. claim, number: which blocks count from there on, as `FencingFilter`
    takes them; of an offset alone nobody could say whether the block there is void.
    """

    offset: int = 0
    claim: int = -1
    number: int | None = None


class LabelledRows(NamedTuple):
    """The examples of one message that counts.

    rows: schema EventSchema.labelled, in the order they were labelled. cursor: reads on after them.
    """

    partition: int
    rows: pa.RecordBatch
    cursor: Cursor


class LabelledPartition:
    """Tells the messages of one partition that count from those that do not, without I/O."""

    def __init__(self, partition: Partition, cursor: Cursor) -> None:
        """cursor: of the last rows that were made use of; Cursor() for the beginning."""
        self._partition = partition
        self._fencing = FencingFilter(cursor.claim, cursor.number)

    def take(self, record: Message) -> LabelledRows | None:
        """The examples of the next message; None if it has none, or is void.

        Raises DataError if messages are missing before it, or it cannot be read.
        """
        block = self._fencing.take(entry_of(self._partition, record))
        if block is None or block.rows == 0:
            return None
        batches = decode(record.value or b"", message_location(self._partition, record))
        rows = concat_batches(batches, batches[0].schema)
        cursor = Cursor(record.offset + 1, self._fencing.claim, self._fencing.number)
        return LabelledRows(self._partition.number, rows, cursor)


def read_labelled(
    topic: str,
    kafka: KafkaSettings,
    cursors: Mapping[int, Cursor] | None = None,
    *,
    follow: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[LabelledRows]:
    """Read all partitions of the labelled topic: the rows of a partition in their order.

    cursors: where to read on, by partition; a partition without one is read from its beginning.
    follow: at the log's end wait for more; else end where the log ended when the reading began.
    stop: asked at least twice a second; if true the reading ends.

    Raises, at the first rows or later: ConfigError for credentials; ClickloopError without a
    broker or the topic; DataError where messages are missing or cannot be read.
    """
    options = client_options(kafka)
    with translated_errors(kafka.bootstrap_servers):
        consumer = KafkaConsumer(
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            bootstrap_timeout_ms=_PATIENCE_MS,
        )
        try:
            yield from _read(consumer, topic, kafka, cursors or {}, follow, stop)
        except OffsetOutOfRangeError as error:
            raise DataError(
                f"topic {topic}: messages were deleted before they were read ({error}); its "
                "retention must be longer than any reader is away"
            ) from error
        finally:
            consumer.close()


def _read(
    consumer: KafkaConsumer,
    topic: str,
    kafka: KafkaSettings,
    cursors: Mapping[int, Cursor],
    follow: bool,
    stop: Callable[[], bool],
) -> Iterator[LabelledRows]:
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise ClickloopError(
            f"{kafka.bootstrap_servers}: no topic {topic}; `clickloop topics create` makes it"
        )
    unknown = cursors.keys() - numbers
    if unknown:
        raise DataError(
            f"topic {topic}: it has no partitions {sorted(unknown)}; are the cursors of another?"
        )
    tps = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(tps)
    first, ends = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
    logs = {}
    for tp in tps:
        cursor = cursors.get(tp.partition, Cursor())
        if cursor.offset > ends[tp]:
            raise DataError(
                f"topic {topic}, partition {tp.partition}: the cursor is at offset "
                f"{cursor.offset}, and the log ends at {ends[tp]}; was the topic made anew?"
            )
        logs[tp] = LabelledPartition(Partition(topic, tp.partition), cursor)
        consumer.seek(tp, max(cursor.offset, first[tp]))
    while not stop() and (follow or any(consumer.position(tp) < ends[tp] for tp in tps)):
        polled: Mapping[Any, list[Any]] = consumer.poll(_POLL_MS)
        for tp, records in polled.items():
            for record in records:
                if not follow and record.offset >= ends[tp]:
                    break
                found = logs[tp].take(record)
                if found is not None:
                    yield found
