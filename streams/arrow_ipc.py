"""Record batches as Kafka messages: one Arrow IPC stream, compressed, many events."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I32
from streams.errors import DataError

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
CONTENT_TYPE = "content-type"

# Messages are small: handing their columns to threads takes longer than the work.
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READING = pa.ipc.IpcReadOptions(use_threads=False)


def encode(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> bytes:
    """Batches of one schema as a message. Dictionary values that no row refers to are left out."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_OPTIONS) as writer:
        for batch in batches:
            writer.write_batch(_compact(batch))
    return bytes(sink.getvalue())


def decode(message: bytes, where: str) -> list[pa.RecordBatch]:
    """The batches of a message, in order. Raises DataError naming `where` if there are none."""
    try:
        with pa.ipc.open_stream(message, options=_READING) as reader:
            return list(reader)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{where}: not an Arrow IPC stream ({error}); a message with the header "
            f"{CONTENT_TYPE}: {ARROW} holds exactly one"
        ) from None


def encode_parts(
    batches: Sequence[pa.RecordBatch], schema: pa.Schema, max_bytes: int
) -> list[tuple[int, bytes]]:
    """Batches as few messages of a bounded size, in order: (rows, message) each.

    max_bytes: the size of a message, at most. Raises DataError if a single row is larger.
    """
    rows = sum(batch.num_rows for batch in batches)
    message = encode(batches, schema)
    if len(message) <= max_bytes:
        return [(rows, message)]
    if rows <= 1:
        raise DataError(
            f"one row takes {len(message)} bytes as a message, more than the {max_bytes} the "
            "broker accepts; raise [topics] max_message_bytes, and max.message.bytes of the topic"
        )
    half, first, second = rows // 2, [], []
    for batch in batches:
        cut = min(max(half, 0), batch.num_rows)
        first.append(batch.slice(0, cut))
        second.append(batch.slice(cut))
        half -= batch.num_rows
    return [
        part
        for side in (first, second)
        for part in encode_parts([b for b in side if b.num_rows], schema, max_bytes)
    ]


def _compact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with dictionaries that hold little more than its rows refer to."""
    columns = [
        _compact_dictionary(column) if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _compact_dictionary(column: pa.DictionaryArray) -> pa.DictionaryArray:
    if len(column.dictionary) <= 2 * len(column):
        return column
    indices: I32 = column.indices.fill_null(-1).to_numpy()
    used, inverse = np.unique(indices, return_inverse=True)
    if len(used) and used[0] == -1:
        used, inverse = used[1:], inverse - 1
    return pa.DictionaryArray.from_arrays(
        pa.array(inverse, column.type.index_type, mask=indices == -1),
        column.dictionary.take(pa.array(used)),
    )
