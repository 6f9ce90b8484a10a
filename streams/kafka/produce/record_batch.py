"""Many records in the bytes of Kafka's record format, version 2, without an object for each.

kafka-python spends about 20 µs on a record, most of it on objects; a kernel over Arrow's buffers
spends less than 1 µs. Its accumulator then gets a full batch, which takes private attributes of it:
its version is exact in pyproject.toml, and tests/streams/kafka/test_record_batch.py says what is
relied on.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from kafka import KafkaProducer
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.structs import TopicPartition

from streams.compute.arrays import I32, I64, U8
from streams.compute.jit import kernel
from streams.compute.murmur3 import text_buffers

RECORD_OVERHEAD = 24  # bytes of a record beside key and value, at most

_MAGIC = 2
_MORE = np.uint8(0x80)
_LOW, _SEVEN, _U1 = np.uint64(0x7F), np.uint64(7), np.uint64(1)


def runs(keys: pa.Array, values: pa.Array, limit: int) -> Iterator[tuple[int, int]]:
    """Cut records into runs [first, last) of at most `limit` bytes, or of a single record."""
    sizes = np.diff(text_buffers(keys)[1]) + np.diff(text_buffers(values)[1]) + RECORD_OVERHEAD
    ends = np.cumsum(sizes, dtype=np.int64)
    first = 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + limit, side="right")), first + 1)
        yield first, last
        first = last


def encoded_records(keys: pa.Array, values: pa.Array) -> bytes:
    """Records with these keys and values (strings or binaries, no nulls), no headers.

    Each is at the time of the first, with its index as offset, as a new batch has them.
    """
    key_bytes, key_offsets = text_buffers(keys)
    value_bytes, value_offsets = text_buffers(values)
    size = int(key_offsets[-1] - key_offsets[0]) + int(value_offsets[-1] - value_offsets[0])
    out = np.empty(size + RECORD_OVERHEAD * len(keys), np.uint8)
    used = _encode(key_bytes, key_offsets, value_bytes, value_offsets, out)
    return out[:used].tobytes()


def append_batch(client: KafkaProducer, tp: TopicPartition, records: bytes, count: int) -> Any:
    """Hand `count` encoded records to a client as one batch; the future of the batch.

    Its value is (offset, time, errors), where errors is None or tells each record's error by its
    index. If the broker wants the batch divided, the future is never done.
    """
    accumulator = client._accumulator
    builder = MemoryRecordsBuilder(_MAGIC, accumulator.config["compression_attrs"], 0)
    inner = builder._builder
    inner._buffer.extend(records)
    inner._num_records = count
    inner._last_offset = count - 1
    inner._first_timestamp = inner._max_timestamp = int(time.time() * 1000)
    builder._next_offset = count
    batch = ProducerBatch(tp, builder)
    with accumulator._tp_lock(tp):
        accumulator._batches[tp].append(batch)
        accumulator._incomplete.add(batch)
    client._sender.wakeup()
    return batch.produce_future


@kernel
def _encode(keys: U8, key_offsets: I32 | I64, values: U8, value_offsets: I32 | I64, out: U8) -> int:
    """Write the records into `out` as KIP-98 has them; how many bytes."""
    at = 0
    for i in range(len(key_offsets) - 1):
        key = key_offsets[i + 1] - key_offsets[i]
        value = value_offsets[i + 1] - value_offsets[i]
        body = 3 + _length(i) + _length(key) + key + _length(value) + value
        at = _varint(out, at, body)
        out[at] = 0  # attributes
        out[at + 1] = 0  # after the first one's time, in milliseconds
        at = _varint(out, at + 2, i)
        at = _varint(out, at, key)
        for j in range(key_offsets[i], key_offsets[i + 1]):
            out[at] = keys[j]
            at += 1
        at = _varint(out, at, value)
        for j in range(value_offsets[i], value_offsets[i + 1]):
            out[at] = values[j]
            at += 1
        out[at] = 0  # headers
        at += 1
    return at


@kernel
def _varint(out: U8, at: int, number: int) -> int:
    """Write a number that is not negative, zigzag in 7 bits a byte; where the next byte goes."""
    left = np.uint64(number) << _U1
    while left > _LOW:
        out[at] = np.uint8(left & _LOW) | _MORE
        left >>= _SEVEN
        at += 1
    out[at] = np.uint8(left)
    return at + 1


@kernel
def _length(number: int) -> int:
    """How many bytes `_varint` writes."""
    left = number << 1
    count = 1
    while left > 127:
        left >>= 7
        count += 1
    return count
