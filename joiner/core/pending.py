"""Impressions that are open or still known: the ring that indexes them, and their rows."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joiner.core.kernel_types import FOREVER, NEVER
from joiner.core.ring import EMPTY, ENTRY, FILLED, NEXT, RETIRED, UNDECIDED, Ring, sweep
from joiner.core.row_store import KeptRows, Spill
from streams.compute.arrays import I64, U32

# Bytes an impression: 32 in the ring, which grows by a sixteenth, and at most 2.75 slots of 4,
# so 45 in all; what is left to 48 is the room a step needs beside the known impressions.
_SMALLEST = 1 << 12
_RING_GROWTH = 1.0625
_MIN_SLOTS, _GROWN_SLOTS = 2.0, 2.75  # for each impression
_MAX_LOAD = 0.8


def _slots(count: int) -> U32:
    return np.full(count, EMPTY, np.uint32)


class Pending:
    """The ring the kernels use, and beside it the impressions' `rows`, in the same order.

    A sequence number counts accepted impressions from 0. Rows are kept of undecided impressions,
    and of known ones that corrections may need.
    """

    def __init__(
        self, schema: pa.Schema, known_span: int, rows_from: int, spill: Spill | None
    ) -> None:
        """schema: of the impression batches. known_span: W + max(H, D), milliseconds. rows_from:
        rows are kept of known impressions from this sequence number on. spill: where rows go that
        are too many for memory.
        """
        slots = _slots(int(_SMALLEST * _GROWN_SLOTS))
        self.ring = Ring(
            entries=np.zeros(_SMALLEST, ENTRY),
            slots=slots,
            bits=len(slots).bit_length(),
            cursor=np.zeros(4, np.int64),
        )
        self.rows = KeptRows(schema, spill)
        self._known_span = known_span
        self._rows_from = rows_from

    @property
    def open(self) -> int:
        """How many impressions are not decided yet."""
        return int(self.ring.cursor[NEXT] - self.ring.cursor[UNDECIDED])

    @property
    def decided(self) -> int:
        """The sequence number of the first impression that is not decided."""
        return int(self.ring.cursor[UNDECIDED])

    @property
    def oldest_open(self) -> int:
        """The least `ts` of an undecided impression; FOREVER if there is none."""
        _, undecided, following, _ = self.ring.cursor.tolist()
        ts, first, last = (
            self.ring.entries["ts"],
            *(number % len(self.ring.entries) for number in (undecided, following)),
        )
        if undecided == following:
            return FOREVER
        parts = (ts[first:last],) if first < last else (ts[first:], ts[:last])
        return int(min(part.min(initial=FOREVER) for part in parts))

    @property
    def retired(self) -> int:
        """The sequence number of the first impression in the ring."""
        return int(self.ring.cursor[RETIRED])

    @property
    def following(self) -> int:
        """The sequence number of the next impression."""
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
        need = int(cursor[NEXT] - cursor[RETIRED]) + impressions
        capacity = len(self.ring.entries)
        if need > capacity:
            self._resize(max(need, int(capacity * _RING_GROWTH)))
        elif capacity > max(4 * need, _SMALLEST):
            self._resize(max(need, _SMALLEST))
        if not _MIN_SLOTS * need <= slots <= 4 * max(_GROWN_SLOTS * need, _SMALLEST):
            slots = int(_GROWN_SLOTS * max(need, _SMALLEST))
            self.ring = self.ring._replace(slots=_slots(slots), bits=slots.bit_length())
            sweep(self.ring, watermark, self._known_span)
        elif cursor[FILLED] + impressions > _MAX_LOAD * slots:
            sweep(self.ring, watermark, self._known_span)

    def append(self, rows: pa.RecordBatch) -> None:
        """Keep the rows of the impressions the kernel has just accepted."""
        self.rows.append(rows, int(self.ring.cursor[NEXT]))

    def release(self) -> None:
        """Let go of batches of which no row is needed any more."""
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
        return list(self.rows.slices(self._first_needed(), int(self.ring.cursor[NEXT])))

    def known(self) -> npt.NDArray[Any]:
        """The entries of all impressions in the ring, in order of arrival, the open ones last."""
        return self.entries(int(self.ring.cursor[RETIRED]), int(self.ring.cursor[NEXT]))

    def refill(
        self, known: npt.NDArray[Any], open_: int, rows: list[pa.RecordBatch], watermark: int
    ) -> None:
        """Become what `known`, `open` and `needed_rows` described. Must be new and empty."""
        self.reserve(len(known), watermark)
        self.ring.entries[: len(known)] = known
        self.ring.cursor[NEXT] = len(known)
        self.ring.cursor[UNDECIDED] = len(known) - open_
        sweep(self.ring, watermark, self._known_span)
        start = len(known) - sum(batch.num_rows for batch in rows)
        for batch in rows:
            start += batch.num_rows
            self.rows.append(batch, start)
        self.release()

    def change(self, known_span: int, rows_from: int, watermark: int) -> None:
        """From here on impressions are known for another span; what was forgotten stays so.

        rows_from: as at the start. watermark: the join's, milliseconds.
        """
        cursor, entries = self.ring.cursor, self.ring.entries
        decided = np.arange(cursor[RETIRED], cursor[UNDECIDED]) % len(entries)
        forgotten = decided[watermark > entries["ts"][decided] + self._known_span]
        entries["ts"][forgotten] = NEVER
        self._known_span, self._rows_from = known_span, rows_from

    def _first_needed(self) -> int:
        retired, undecided = self.ring.cursor[[RETIRED, UNDECIDED]].tolist()
        return int(min(max(retired, self._rows_from), undecided))

    def _resize(self, capacity: int) -> None:
        known, first = self.known(), int(self.ring.cursor[RETIRED] % capacity)
        entries = np.empty(capacity, ENTRY)
        cut = min(len(known), capacity - first)
        entries[first : first + cut] = known[:cut]
        entries[: len(known) - cut] = known[cut:]
        self.ring = self.ring._replace(entries=entries)
