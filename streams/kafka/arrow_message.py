"""Messages that are Arrow streams, read as what anyone may have sent."""

from dataclasses import dataclass

import pyarrow as pa

from streams.arrow_batches import concat_batches
from streams.errors import DataError
from streams.formats.columnar import Layout, is_valid, layout_of
from streams.record import RecordType

MAX_MESSAGE_ROWS = 1 << 20

_READ = pa.ipc.IpcReadOptions(use_threads=False)


@dataclass(frozen=True, slots=True)
class ArrowMessage:
    """The rows of one message, in the columns that hold anything of the record.

    valid: whether all strings are UTF-8; everything else about the buffers was checked.
    """

    layout: Layout
    rows: pa.RecordBatch
    valid: bool


def read_message(value: bytes, record: RecordType) -> ArrowMessage:
    """The rows of a message. Raises DataError if it is not an Arrow stream of such records."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(value), options=_READ) as stream:
            schema = stream.schema
            layout = layout_of("the message", record, schema, partial=True)
            batches = [batch.select(layout.needed) for batch in stream]
        valid = [is_valid(batch) for batch in batches]
        for batch, good in zip(batches, valid, strict=True):
            for column in [] if good else batch.columns:
                _check(column)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"the message is not an Arrow stream ({words})") from error
    if sum(len(batch) for batch in batches) > MAX_MESSAGE_ROWS:
        raise DataError(f"the message has more than {MAX_MESSAGE_ROWS} rows; send fewer at once")
    rows = concat_batches(batches, pa.schema([schema.field(name) for name in layout.needed]))
    return ArrowMessage(layout, rows, all(valid))


def _check(array: pa.Array) -> None:
    """Raise ArrowInvalid unless the buffers can be read safely, whatever bytes strings hold."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        _check(array.indices)
        _check(array.dictionary)
        used = array.indices.drop_null().to_numpy()
        if len(used) and not (used.min() >= 0 and used.max() < len(array.dictionary)):
            raise pa.ArrowInvalid("an index outside its dictionary")
    elif pa.types.is_struct(kind):
        array.validate()
        for i in range(kind.num_fields):
            _check(array.field(i))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        raw = pa.binary() if pa.types.is_string(kind) else pa.large_binary()
        array.view(raw).validate(full=True)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        # The same offsets over values that cannot be wrong.
        shape = pa.list_(pa.null()) if pa.types.is_list(kind) else pa.large_list(pa.null())
        values = [pa.nulls(len(array.values))]
        bare = pa.Array.from_buffers(
            shape, len(array), array.buffers()[:2], offset=array.offset, children=values
        )
        bare.validate(full=True)
        _check(array.values)
    elif pa.types.is_fixed_size_list(kind):
        array.validate()
        _check(array.values)
    else:
        array.validate(full=True)
