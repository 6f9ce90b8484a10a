"""Where a row stands in its log, and how far a log has been read.

A row position is a pair (src_offset, src_row). In files it is the file's index in the order of
reading and the row's number in the file. In a topic's partition it is the message's offset and the
row's index in the message.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I64
from streams.compute.murmur3 import fmix64
from streams.errors import DataError

RowPosition = tuple[int, int]  # (src_offset, src_row)


@dataclass(frozen=True, slots=True)
class ReadCursor:
    """How far a log has been delivered.

    position: every row at or before it was delivered or refused (None: nothing was). newest: the
    greatest `ts` delivered, in milliseconds (None: no row yet).
    """

    position: RowPosition | None = None
    newest: int | None = None

    @property
    def after(self) -> RowPosition:
        """A position that all rows still to come are after."""
        return (-1, -1) if self.position is None else self.position


def row_position(rows: pa.RecordBatch, i: int) -> RowPosition:
    """(src_offset, src_row) of a row of a batch."""
    return rows.column("src_offset")[i].as_py(), rows.column("src_row")[i].as_py()


def rows_through(rows: pa.RecordBatch, position: RowPosition) -> int:
    """How many rows of a batch, ascending by position, are at or before `position`."""
    offsets: I64 = rows.column("src_offset").to_numpy()
    start, stop = (int(np.searchsorted(offsets, position[0], side)) for side in ("left", "right"))
    inside: I64 = rows.column("src_row").to_numpy()[start:stop]
    return start + int(np.searchsorted(inside, position[1], "right"))


# A position as one number has the row in its lowest bits. In a file: a trillion rows, of 8 million
# files. In a topic's partition: 2 million rows a message, of 4 trillion messages.
_FILE_ROW_BITS = np.int64(40)
_MESSAGE_ROW_BITS = np.int64(21)
_MOST_ROWS, _MOST_MESSAGES = 1 << 21, 1 << 42


def pack_positions(files: I64, rows: I64) -> I64:
    """Positions in files as single numbers, int64, that ascend with the log. files, rows: int64."""
    return (files << _FILE_ROW_BITS) | rows


def packed_positions(batch: pa.RecordBatch, partition: int | None = None) -> I64:
    """The positions of a batch's rows as single numbers, int64 from 0, that ascend with the log.

    partition: of the topic that the rows came through; None: the rows are of files. Numbers of
    different partitions may be equal. Raises DataError for an offset or a row that has no number.
    """
    offsets: I64 = batch.column("src_offset").to_numpy()
    rows: I64 = batch.column("src_row").to_numpy()
    if partition is None:
        return pack_positions(offsets, rows)
    if batch.num_rows and (offsets.max() >= _MOST_MESSAGES or rows.max() >= _MOST_ROWS):
        raise DataError(
            f"partition {partition}: offset {offsets.max()}, row {rows.max()} is beyond what a "
            f"topic may hold ({_MOST_MESSAGES} messages in a partition, {_MOST_ROWS} events in "
            "a message); write smaller messages, or go on in new topics"
        )
    return (offsets << _MESSAGE_ROW_BITS) | rows


def rounding_seeds(packed: I64, partition: int | None = None) -> I64:
    """What the random roundings of rows depend on: int64 from 0, one for each packed position.

    The seeds of different partitions differ; two share a number only by accident, which costs
    nothing but the independence of two roundings. In partition 0, and in files, a seed is the
    packed position itself.
    """
    mask = int(fmix64(np.uint64(partition or 0)))
    return packed ^ np.int64(mask & 0x7FFF_FFFF_FFFF_FFFF)
