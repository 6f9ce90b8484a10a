"""Messages as a consumer hands them out, made without one."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from streams.arrow_ipc import ARROW, CONTENT_TYPE, encode
from streams.record import RecordType
from tests.support.log_files import SCHEMA, Row
from tests.support.waiting import PATIENCE_S
from tests.system.kafka.topics import ends

NOW = 1_000_000  # the append time of messages that name none
HEADERS = ((CONTENT_TYPE, ARROW.encode()),)


class Message(NamedTuple):
    """What a Decoder needs of a record."""

    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = NOW
    key: bytes | None = None


def wire_schema(record: RecordType) -> pa.Schema:
    """Columns of an Arrow message, all plain."""
    types = {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    types["list"] = pa.list_(pa.string())
    return pa.schema([(name, types[kind]) for name, kind in record.column_types.items()])


def arrow_rows(rows: Sequence[Row], record: RecordType, struct: bool = False) -> pa.RecordBatch:
    """Rows as a file holds them, in Arrow: with flat columns, or a struct of features."""
    flat = [
        row | {f"features.{name}": value for name, value in row.get("features", {}).items()}
        for row in rows
    ]
    schema = wire_schema(record)
    columns = {name: [row.get(name) for row in flat] for name in schema.names}
    arrays = {name: pa.array(columns[name], schema.field(name).type) for name in schema.names}
    if struct:
        members = {f.name: arrays.pop(f.column) for f in SCHEMA.fields}
        features = pa.StructArray.from_arrays(list(members.values()), list(members))
        arrays["features"] = features
    return pa.record_batch(arrays)


def write_message(rows: pa.RecordBatch) -> bytes:
    """The bytes of a message with these rows."""
    return encode([rows], rows.schema)


def arrow_message(
    offset: int, rows: Sequence[Row], record: RecordType, *, struct: bool = False
) -> Message:
    """A message in Arrow."""
    return Message(offset, write_message(arrow_rows(rows, record, struct)), HEADERS)


def stored(address: str, topic: str, partition: int) -> list[Message]:
    """All messages of a partition, read through librdkafka."""
    low, high = ends(address, topic, partition)
    consumer = Consumer({"bootstrap.servers": address, "group.id": "looking"})
    consumer.assign([TopicPartition(topic, partition, low)])
    found: list[Message] = []
    while len(found) < high - low:
        got = consumer.consume(high - low - len(found), PATIENCE_S)
        assert got, f"{topic}-{partition}: {len(found)} of {high - low} messages"
        for each in got:
            assert each.error() is None
            # librdkafka's stubs allow for more than messages from a topic have.
            headers = cast(list[tuple[str, bytes]], each.headers() or [])
            offset, when = cast(int, each.offset()), each.timestamp()[1]
            found.append(Message(offset, each.value(), tuple(headers), when, each.key()))
    consumer.close()
    return found
