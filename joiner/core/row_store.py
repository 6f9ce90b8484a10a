"""The rows of known impressions: batches as they came, in order, the oldest perhaps on disk."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from streams.arrow_batches import concat_batches, take_each, with_small_tail
from streams.compute.arrays import I64

# Bytes that are moved out of memory together; no more than about a quarter of the budget.
_AT_ONCE = 32 << 20


class Spill(Protocol):
    """Room outside of memory for rows that wait."""

    @property
    def budget(self) -> int:
        """How many bytes of rows a joiner may hold in memory; more are moved out."""

    def moved(self, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """The same batches, no longer in memory; their room is free when the last result is gone.

        Raises OSError if there is no room for them.
        """


class RowStore:
    """Rows by the impressions' sequence numbers.

    With a `spill`, the oldest rows are moved out of memory when all together exceed its budget.
    Rows leave in the order in which they came, so each spilled row is read once, from front to
    back, unless a correction needs it again.
    """

    def __init__(self, schema: pa.Schema, spill: Spill | None, small_batch: int) -> None:
        """schema: of the batches. small_batch: rows; smaller batches are put together."""
        self._schema = schema
        self._small_batch = small_batch
        self._spill = spill
        self._batches: list[pa.RecordBatch] = []
        self._starts: list[int] = []  # the sequence number of each batch's first row
        self._sizes: list[int] = []  # bytes of each batch
        self._moved = 0  # so many batches, the first ones, are not in memory

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the rows that are in memory."""
        return sum(self._sizes[self._moved :])

    @property
    def bytes_moved(self) -> int:
        """Bytes of the rows that were moved out of memory."""
        return sum(self._sizes[: self._moved])

    def append(self, rows: pa.RecordBatch, next_: int) -> None:
        """Keep further rows. next_: the sequence number after that of the last row."""
        if rows.num_rows == 0:
            return
        rows = with_small_tail(self._batches, rows, self._small_batch)
        # Small batches at the end were taken out, to be one with these rows.
        remaining = len(self._batches)
        del self._starts[remaining:], self._sizes[remaining:]
        self._moved = min(self._moved, remaining)
        self._batches.append(rows)
        self._starts.append(next_ - rows.num_rows)
        self._sizes.append(rows.nbytes)

    def release(self, needed: int) -> None:
        """Drop batches that end before the sequence number `needed`; spill what is over budget."""
        dropped = 0
        while dropped < len(self._batches) and self._end(dropped) <= needed:
            dropped += 1
        del self._batches[:dropped], self._starts[:dropped], self._sizes[:dropped]
        self._moved = max(self._moved - dropped, 0)
        if self._spill is not None:
            self._move_out(self._spill)

    def slices(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """The rows of the sequence numbers start to stop, without a copy, in order."""
        number = bisect_right(self._starts, start) - 1
        while start < stop:
            end = min(self._end(number), stop)
            yield self._batches[number].slice(start - self._starts[number], end - start)
            start, number = end, number + 1

    def at(self, sequence: I64) -> pa.RecordBatch:
        """The rows of these sequence numbers, copied."""
        starts = np.array(self._starts, np.int64)
        batches = np.searchsorted(starts, sequence, side="right") - 1
        by_batch = np.argsort(batches, kind="stable")
        rows = (sequence - starts[batches])[by_batch]
        pieces = take_each(self._batches, batches[by_batch], rows)
        as_asked = np.empty_like(by_batch)
        as_asked[by_batch] = np.arange(len(sequence))
        return concat_batches(pieces, self._schema).take(pa.array(as_asked))

    def _end(self, number: int) -> int:
        return self._starts[number] + int(self._batches[number].num_rows)

    def _move_out(self, spill: Spill) -> None:
        excess = self.bytes_in_memory - spill.budget
        while excess > 0:
            first = last = self._moved
            size = 0
            while last < len(self._batches) and size < min(_AT_ONCE, spill.budget // 4 + 1):
                size += self._sizes[last]
                last += 1
            self._batches[first:last] = spill.moved(self._batches[first:last])
            self._moved = last
            excess -= size
