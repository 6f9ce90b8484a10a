"""Producers of impressions and clicks, for services and for `clickloop produce`.

An event is checked before it is sent, as its readers will check it. Events of one id, of either log
and in either format, go to the same partition number. kafka-python sends in a thread of its own,
idempotently and to all replicas; the next call raises an error for messages not delivered.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.arrow_ipc import ARROW, CONTENT_TYPE, encode
from streams.compute.murmur2 import partition_of, partitions_of
from streams.deadletter import Source
from streams.errors import DataError
from streams.formats.columnar import layout_of, parse_columns
from streams.kafka.produce.encoder import json_objects, message_columns
from streams.kafka.produce.event import encode_event
from streams.kafka.produce.in_flight import OVERHEAD, InFlightBuffer, Outgoing, ProducerSettings
from streams.kafka.settings import KafkaSettings
from streams.record import FileOrigin, RecordType
from streams.schema import EventSchema
from streams.validate import validate

_SHOWN = 5  # rows that an error names

_ARROW_HEADERS = [(CONTENT_TYPE, ARROW.encode())]


class EventProducer:
    """Sends events of one log; a context manager, or to be closed. Threads may share it."""

    source: ClassVar[Source]

    def __init__(
        self,
        topic: str,
        schema: EventSchema,
        kafka: KafkaSettings,
        settings: ProducerSettings | None = None,
    ) -> None:
        """Raises ConfigError for credentials, ClickloopError without a broker or the topic."""
        self._record = RecordType(self.source, schema)
        self._settings = settings or ProducerSettings()
        self._limit = self._settings.message_bytes - OVERHEAD
        self._buffer = InFlightBuffer(topic, kafka, self._settings)

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._buffer.partitions

    def send(self, event: Mapping[str, Any]) -> None:
        """Send one event, as JSON: a mapping with the members that the log's events have.

        Returns before it is delivered. Raises DataError if readers would refuse the event, which
        is then not sent; DeliveryError for earlier messages, after sending this one;
        ClickloopError if there was no room in time.
        """
        value = encode_event(event, self._record)
        identity = str(event["impression_id"])
        if len(value) > self._limit:
            raise _too_large(identity, len(value))
        key = identity.encode()
        message = Outgoing(value, partition_of(key, self.partitions), identity, 1, key)
        self._buffer.send([message], [])
        self._buffer.raise_failures()

    def send_batch(self, batch: pa.RecordBatch) -> None:
        """Send many events, in Arrow: each partition's in messages of up to `batch_rows`.

        batch: columns as in Parquet logs, `features` a struct or flat. Raises as `send` does; if
        readers would refuse a row none of the batch is sent.
        """
        self.send_rows(self._checked(batch))

    def send_rows(self, rows: pa.RecordBatch, *, as_json: bool = False) -> None:
        """Send rows that a reader has accepted (schema EventSchema.impressions or .clicks).

        as_json: each as a message of its own. Raises DeliveryError, ClickloopError as `send` does.
        """
        columns = message_columns(rows, self._record)
        partitions = partitions_of(columns.column("impression_id"), self.partitions)
        columns = columns.take(pa.array(np.argsort(partitions, kind="stable")))
        ends = np.cumsum(np.bincount(partitions, minlength=self.partitions)).tolist()
        if as_json:
            self._send_objects(columns, ends)
        else:
            for partition, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
                for first in range(start, end, self._settings.batch_rows):
                    count = min(end - first, self._settings.batch_rows)
                    self._send_arrow(columns.slice(first, count), partition)
        self._buffer.raise_failures()

    def flush(self) -> None:
        """Wait until everything is delivered. Raises DeliveryError."""
        self._buffer.flush()

    def close(self) -> None:
        """Deliver everything, then disconnect. Raises DeliveryError; again, it is harmless."""
        self._buffer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows in the record's schema. Raises DataError if a reader would refuse any."""
        layout = layout_of("the batch", self._record, batch.schema)
        used = batch.select(layout.needed)
        parsed = parse_columns(layout, used, np.arange(len(used)))
        chunk = validate(parsed, self._record, FileOrigin("the batch", 0))
        if chunk.rejected:
            shown = [f"  row {x.src_row}: {x.detail}" for x in chunk.rejected[:_SHOWN]]
            count = len(chunk.rejected)
            raise DataError(
                "\n".join(
                    [f"{count} rows would be refused by their readers; none was sent:", *shown]
                )
            )
        return chunk.rows

    def _send_objects(self, rows: pa.RecordBatch, ends: list[int]) -> None:
        """Send each row, ordered by partition, as a message; `ends`: where each partition's end."""
        values, ids = json_objects(rows, self._record), rows.column("impression_id")
        sizes = pc.binary_length(values).to_numpy()
        if len(sizes) and sizes.max() > self._limit:
            raise _too_large(ids[int(sizes.argmax())].as_py(), int(sizes.max()))
        for partition, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            part = slice(start, end)
            self._buffer.send_each(ids[part], values[part], partition)

    def _send_arrow(self, rows: pa.RecordBatch, partition: int) -> None:
        value = encode([rows], rows.schema)
        if len(value) > self._limit:
            half = len(rows) // 2
            if half == 0:
                raise _too_large(rows.column("impression_id")[0].as_py(), len(value))
            self._send_arrow(rows.slice(0, half), partition)
            self._send_arrow(rows.slice(half), partition)
            return
        identity = rows.column("impression_id")[0].as_py()
        message = Outgoing(value, partition, identity, len(rows), None)
        self._buffer.send([message], _ARROW_HEADERS)


class ImpressionProducer(EventProducer):
    """Sends impressions.

    >>> from clickloop import EventSchema, Field, ImpressionProducer, KafkaSettings
    >>> schema = EventSchema((Field("city", "string"),))
    >>> event = {"impression_id": "i1", "ts": 1700000000000, "features": {"city": "Bern"}}
    >>> with ImpressionProducer("impressions", schema, KafkaSettings()) as producer:
    ...     producer.send(event)  # doctest: +SKIP

    Without a broker, the check that `send` makes:

    >>> record = RecordType("impressions", schema)
    >>> encode_event({"impression_id": "i1", "features": {}}, record)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    streams.errors.DataError: the event would be refused by its readers: ts is null; ...
    """

    source = "impressions"


class ClickProducer(EventProducer):
    """Sends clicks.

    >>> from clickloop import ClickProducer, EventSchema, KafkaSettings
    >>> schema, kafka = EventSchema((), click_types=("click", "long_click")), KafkaSettings()
    >>> with ClickProducer("clicks", schema, kafka) as producer:
    ...     producer.send({"impression_id": "i1", "ts": 1700000004000})  # doctest: +SKIP

    Without a broker, the check and the encoding that `send` makes:

    >>> encode_event({"impression_id": "i1", "ts": 1700000004000}, RecordType("clicks", schema))
    b'{"impression_id":"i1","ts":1700000004000}'
    """

    source = "clicks"


def _too_large(identity: str, size: int) -> DataError:
    return DataError(f"{identity}: {size} bytes, more than a message may have")
