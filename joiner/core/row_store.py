"""The rows of pending impressions: batches as they came, in order, the oldest perhaps on disk."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from streams.arrow_batches import concat_batches, take_each, with_small_tail
from streams.compute.arrays import I64

_SMALL_BATCH = 1 << 10  # rows that are kept together
_AT_ONCE = 32 << 20  # bytes that are moved out of memory together, at most about a quarter of it


class Spill(Protocol):
    """Room outside of memory for rows that wait."""

    @property
    def budget(self) -> int:
        """How many bytes of rows a joiner may hold in memory; more are moved out."""

    def moved(self, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """The same batches, no longer in memory; their room is free when the last result is gone.

        Raises OSError if there is no room for them.
        """


class KeptRows:
    """Rows by the impressions' sequence numbers.

    With a `spill` the oldest are moved out of memory when all are more than its budget: rows leave
    in the order they came in, so these are read again once, from front to back, but for
    corrections.
    """

    def __init__(self, schema: pa.Schema, spill: Spill | None) -> None:
        """schema: of the batches."""
        self._schema = schema
        self._spill = spill
        self._batches: list[pa.RecordBatch] = []
        self._starts: list[int] = []  # the sequence number of each batch's first row
        self._sizes: list[int] = []  # bytes of each batch
        self._moved = 0  # how many batches, the first ones, are not in memory

    @property
    def bytes_in_memory(self) -> int:
        """Bytes of the rows that are in memory."""
        return sum(self._sizes[self._moved :])

    @property
    def bytes_moved(self) -> int:
        """Bytes of the rows that are not."""
        return sum(self._sizes[: self._moved])

    def append(self, rows: pa.RecordBatch, following: int) -> None:
        """Keep further rows. following: the sequence number after the last of them."""
        if rows.num_rows == 0:
            return
        rows = with_small_tail(self._batches, rows, _SMALL_BATCH)
        left = len(self._batches)
        del self._starts[left:], self._sizes[left:]
        self._moved = min(self._moved, left)
        self._batches.append(rows)
        self._starts.append(following - rows.num_rows)
        self._sizes.append(rows.nbytes)

    def release(self, needed: int) -> None:
        """Let go of batches all of whose rows come before the sequence number `needed`; move out
        of memory what is too much for it."""
        done = 0
        while done < len(self._batches) and self._end(done) <= needed:
            done += 1
        del self._batches[:done], self._starts[:done], self._sizes[:done]
        self._moved = max(self._moved - done, 0)
        if self._spill is not None:
            self._move_out(self._spill)

    def slices(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """The rows of the sequence numbers start to stop, without a copy, in order."""
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            end = min(self._end(at), stop)
            yield self._batches[at].slice(start - self._starts[at], end - start)
            start, at = end, at + 1

    def at(self, sequence: I64) -> pa.RecordBatch:
        """The rows of these sequence numbers, copied."""
        starts = np.array(self._starts, np.int64)
        which = np.searchsorted(starts, sequence, side="right") - 1
        by_batch = np.argsort(which, kind="stable")
        rows = (sequence - starts[which])[by_batch]
        pieces = take_each(self._batches, which[by_batch], rows)
        back = np.empty_like(by_batch)
        back[by_batch] = np.arange(len(sequence))
        return concat_batches(pieces, self._schema).take(pa.array(back))

    def _end(self, at: int) -> int:
        return self._starts[at] + int(self._batches[at].num_rows)

    def _move_out(self, spill: Spill) -> None:
        excess = self.bytes_in_memory - spill.budget
        while excess > 0:
            first = last = self._moved
            together = 0
            while last < len(self._batches) and together < min(_AT_ONCE, spill.budget // 4 + 1):
                together += self._sizes[last]
                last += 1
            self._batches[first:last] = spill.moved(self._batches[first:last])
            self._moved = last
            excess -= together
