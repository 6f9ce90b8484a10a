"""Known impressions, open or remembered: the ring that indexes them, and their rows."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joiner.core.kernel_types import SIZES, Sizes
from joiner.core.ring import EMPTY, ENTRY, FILLED, FIRST_KNOWN, FIRST_OPEN, NEXT, Ring, rehash
from joiner.core.row_store import RowStore, Spill
from streams.compute.arrays import I64, U32
from streams.events import FOREVER, NEVER

# Bytes an impression: 32 in the ring, which grows by a sixteenth, and at most 2.75 slots of 4, so
# 45 in all. What is left of 48 is the room that a step needs beside the known impressions.
_RING_GROWTH = 1.0625
_MIN_SLOTS, _GROWN_SLOTS = 2.0, 2.75  # for each impression
_MAX_LOAD = 0.8


def _slots(count: int) -> U32:
    return np.full(count, EMPTY, np.uint32)


class Newest(NamedTuple):
    """The greatest `ts` of an accepted impression, and the sequence number of the last with it."""

    ts: int
    sequence: int


class Pending:
    """The ring that the kernels use, and the impressions' `rows`, in the same order.

    A sequence number counts accepted impressions from 0. Rows are kept of open impressions, and
    of remembered ones that corrections may need.
    """

    def __init__(
        self,
        schema: pa.Schema,
        known_span: int,
        rows_from: int,
        spill: Spill | None = None,
        sizes: Sizes = SIZES,
    ) -> None:
        """schema: of the impression batches. known_span: W + max(H, D), ms. rows_from: rows are
        kept of known impressions from this sequence number on. spill: where rows go that are too
        many for memory. sizes: the least ones.
        """
        self._smallest = sizes.ring
        slots = _slots(int(self._smallest * _GROWN_SLOTS))
        self.ring = Ring(
            entries=np.zeros(self._smallest, ENTRY),
            slots=slots,
            bits=len(slots).bit_length(),
            cursor=np.zeros(4, np.int64),
        )
        self.rows = RowStore(schema, spill, sizes.batch)
        self.newest = Newest(NEVER, -1)
        self._known_span = known_span
        self._rows_from = rows_from

    @property
    def open(self) -> int:
        """How many impressions are not decided yet."""
        return int(self.ring.cursor[NEXT] - self.ring.cursor[FIRST_OPEN])

    @property
    def first_open(self) -> int:
        """The sequence number of the first impression that is not decided."""
        return int(self.ring.cursor[FIRST_OPEN])

    @property
    def oldest_open(self) -> int:
        """The least `ts` of an open impression; FOREVER if there is none."""
        if self.open == 0:
            return FOREVER
        ts = self.ring.entries["ts"]
        first, last = self.first_open % len(ts), self.next % len(ts)
        parts = (ts[first:last],) if first < last else (ts[first:], ts[:last])
        return int(min(part.min(initial=FOREVER) for part in parts))

    @property
    def newest_open(self) -> int:
        """The greatest `ts` of an open impression; NEVER if there is none."""
        if self.newest.sequence >= self.first_open:
            return self.newest.ts
        # The newest of all is decided, and so are all before it: few are left.
        ts = self.entries(self.first_open, self.next)["ts"]
        return max(int(ts.max(initial=NEVER)), NEVER)

    @property
    def first_known(self) -> int:
        """The sequence number of the first impression in the ring."""
        return int(self.ring.cursor[FIRST_KNOWN])

    @property
    def next(self) -> int:
        """The sequence number that the next impression gets."""
        return int(self.ring.cursor[NEXT])

    @property
    def nbytes(self) -> int:
        """Bytes of ring and index, counted at capacity."""
        return self.ring.entries.nbytes + self.ring.slots.nbytes

    def reserve(self, impressions: int, watermark: int) -> None:
        """Make room in ring and index for so many more impressions.

        watermark: the join's, milliseconds; impressions it has passed leave the index.
        """
        cursor, slots = self.ring.cursor, len(self.ring.slots)
        need = int(cursor[NEXT] - cursor[FIRST_KNOWN]) + impressions
        capacity = len(self.ring.entries)
        if need > capacity:
            self._resize(max(need, int(capacity * _RING_GROWTH)))
        elif capacity > max(4 * need, self._smallest):
            self._resize(max(need, self._smallest))
        if not _MIN_SLOTS * need <= slots <= 4 * max(_GROWN_SLOTS * need, self._smallest):
            slots = int(_GROWN_SLOTS * max(need, self._smallest))
            self.ring = self.ring._replace(slots=_slots(slots), bits=slots.bit_length())
            rehash(self.ring, watermark, self._known_span)
        elif cursor[FILLED] + impressions > _MAX_LOAD * slots:
            rehash(self.ring, watermark, self._known_span)

    def append(self, rows: pa.RecordBatch) -> None:
        """Keep the rows of the impressions that the kernel has just accepted."""
        ts: I64 = rows.column("ts").to_numpy()
        if len(ts) and (newest := int(ts.max())) >= self.newest.ts:
            self.newest = Newest(newest, self.next - 1 - int(np.argmax(ts[::-1])))
        self.rows.append(rows, self.next)

    def release(self) -> None:
        """Drop batches of rows that are no longer needed."""
        self.rows.release(self._first_needed())

    def entries(self, start: int, stop: int) -> npt.NDArray[Any]:
        """The ring's entries of the sequence numbers start to stop, ENTRY [stop - start]."""
        entries = self.ring.entries
        if start == stop:
            return entries[:0]
        first, last = start % len(entries), (stop - 1) % len(entries)
        if first <= last:
            return entries[first : last + 1]
        return np.concatenate([entries[first:], entries[: last + 1]])

    def entries_at(self, sequence: I64) -> npt.NDArray[Any]:
        """The ring's entries of these sequence numbers, ENTRY [len(sequence)]."""
        return self.ring.entries[sequence % len(self.ring.entries)]

    def needed_rows(self) -> list[pa.RecordBatch]:
        """The rows that are still needed, in order."""
        return list(self.rows.slices(self._first_needed(), self.next))

    def known(self) -> npt.NDArray[Any]:
        """The entries of all impressions in the ring, in order of arrival, the open ones last."""
        return self.entries(self.first_known, self.next)

    def restore(
        self, known: npt.NDArray[Any], open_: int, rows: list[pa.RecordBatch], watermark: int
    ) -> None:
        """Hold what `known`, `open` and `needed_rows` described. Must be new and empty."""
        self.reserve(len(known), watermark)
        self.ring.entries[: len(known)] = known
        self.ring.cursor[NEXT] = len(known)
        self.ring.cursor[FIRST_OPEN] = len(known) - open_
        rehash(self.ring, watermark, self._known_span)
        start = len(known) - sum(batch.num_rows for batch in rows)
        for batch in rows:
            start += batch.num_rows
            self.rows.append(batch, start)
        self.release()

    def reconfigure(self, known_span: int, rows_from: int, watermark: int) -> None:
        """Know impressions for another span from here on; those that were forgotten stay so.

        known_span, rows_from: as in the constructor. watermark: the join's, ms.
        """
        cursor, entries = self.ring.cursor, self.ring.entries
        decided = np.arange(cursor[FIRST_KNOWN], cursor[FIRST_OPEN]) % len(entries)
        forgotten = decided[watermark > entries["ts"][decided] + self._known_span]
        entries["ts"][forgotten] = NEVER
        self._known_span, self._rows_from = known_span, rows_from

    def _first_needed(self) -> int:
        return min(max(self.first_known, self._rows_from), self.first_open)

    def _resize(self, capacity: int) -> None:
        known, first = self.known(), self.first_known % capacity
        entries = np.empty(capacity, ENTRY)
        unwrapped = min(len(known), capacity - first)
        entries[first : first + unwrapped] = known[:unwrapped]
        entries[: len(known) - unwrapped] = known[unwrapped:]
        self.ring = self.ring._replace(entries=entries)
