"""Two logs as one stream of events, in the order of their times.

The order is that of a classic merge: of the next rows of both logs the one with the lower time goes
first, and the impression on a tie. Rows of one log stay in the log's order, even if their times are
not. This equals merging by each log's running maximum of time, since a row behind its log's maximum
is next as soon as the row with that maximum has gone. The running maxima are sorted, so whole
chunks are merged by binary search.

    merged      pulls two logs that end (files)
    Merge       is given chunks of two logs that may never end (topics)
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from streams.arrow_batches import empty_batch
from streams.compute.arrays import I64, U8
from streams.deadletter import DeadLetter
from streams.events import CLICK, FOREVER, IMPRESSIONS_END, NEVER, SOURCES
from streams.position import ReadCursor, RowPosition, row_position, rows_through
from streams.record import RecordType, RowChunk
from streams.rules import TODAY


@dataclass(frozen=True, slots=True)
class MergedStep:
    """The next events of the merged stream.

    impressions, clicks: batches (perhaps of 0 rows) in the schemas of `EventSchema`.
    impression_clock, click_clock: int64, for each row the time that moves its log's watermark, ms:
    `ts`, unless the clock that wrote it ran ahead (`RowChunk.clock`). order: uint8, the order of
    events: `IMPRESSION` or `CLICK` takes the next row of that batch; `IMPRESSIONS_END` and
    `CLICKS_END`, each once in the stream, stand directly after the last row of that log. rejected:
    the dead letters of both logs up to these rows. impressions_at, clicks_at: how far each log is
    delivered after this step; a log opened after this cursor goes on with exactly what follows.
    """

    impressions: pa.RecordBatch
    clicks: pa.RecordBatch
    impression_clock: I64
    click_clock: I64
    order: U8
    rejected: tuple[DeadLetter, ...]
    impressions_at: ReadCursor
    clicks_at: ReadCursor


class RowLog(Protocol):
    """One log to merge: `streams.files.logs.Log`, or anything else that gives chunks in order."""

    @property
    def record(self) -> RecordType:
        """The type of the log's records."""

    @property
    def after(self) -> ReadCursor:
        """The cursor that the log begins after."""

    def __iter__(self) -> Iterator[RowChunk]: ...


def merged(impressions: RowLog, clicks: RowLog, order: int = TODAY.order) -> Iterator[MergedStep]:
    """Merge two logs that end by time, as the module says.

    Reads a chunk of a log only when the last chunk is used up, so about one chunk of each log is
    held. Where steps begin depends on the chunks; the sequence of rows, dead letters and ends does
    not. order: the number of the rule (`streams.rules`).
    """
    logs = impressions, clicks
    merge = Merge((impressions.record, clicks.record), (impressions.after, clicks.after), order)
    chunks = [iter(log) for log in logs]
    ended = [False, False]
    while not all(ended):
        ends = []
        for source in SOURCES:
            while not ended[source] and merge.needs(source):
                chunk = next(chunks[source], None)
                if chunk is not None:
                    merge.push(source, chunk)
                    continue
                ended[source] = True
                ends.append(IMPRESSIONS_END + source)
        step = merge.take(done=(ended[0], ended[1]))
        if step is not None or ends:
            step = merge.nothing() if step is None else step
            yield replace(step, order=np.concatenate([np.array(ends, np.uint8), step.order]))


class Merge:
    """Two logs being merged, as their chunks come."""

    def __init__(
        self,
        records: tuple[RecordType, RecordType],
        after: tuple[ReadCursor, ReadCursor],
        order: int = TODAY.order,
    ) -> None:
        """records: of the impressions and the clicks. after: where each log begins. order: the
        number of the rule.
        """
        self.order = order
        self._heads = tuple(_Head(*each) for each in zip(records, after, strict=True))

    @property
    def at(self) -> tuple[ReadCursor, ReadCursor]:
        """How far each log is delivered."""
        a, b = self._heads
        return a.at, b.at

    def needs(self, source: int) -> bool:
        """Whether nothing of this log is left to deliver: no row, no dead letter."""
        return self._heads[source].is_empty

    def rows(self, source: int) -> int:
        """How many rows of this log wait to be delivered."""
        return self._heads[source].waiting

    def read_to(self, source: int) -> RowPosition:
        """The position of the last row or dead letter of this log that was pushed."""
        return self._heads[source].read_to

    def push(self, source: int, chunk: RowChunk) -> None:
        """The next chunk of a log."""
        self._heads[source].push(chunk)

    def take(
        self,
        done: tuple[bool, bool] = (False, False),
        through: tuple[RowPosition, RowPosition] | None = None,
    ) -> MergedStep | None:
        """The events that are certain to come before all that was not pushed yet; None without any.

        done: for each log, whether the step need not wait for its next rows. through: a position of
        each log; the step ends there, and does not wait for a log that has come so far.
        """
        a, b = self._heads
        limits = (None, None) if through is None else through
        visible = a.visible(limits[0]), b.visible(limits[1])
        over = tuple(
            is_done or (limit is not None and head.reaches(limit))
            for is_done, limit, head in zip(done, limits, self._heads, strict=True)
        )
        rule = ORDERS[self.order]
        counts = rule.certain(a.keys[: visible[0]], b.keys[: visible[1]], over)
        order = rule.order(a.keys[: counts[0]], b.keys[: counts[1]])
        before = self.at
        step = self._step(order, counts, limits)
        if len(order) == 0 and not step.rejected and before == self.at:
            return None
        return step

    def nothing(self) -> MergedStep:
        """A step of no events."""
        return self._step(np.empty(0, np.uint8), (0, 0), (None, None))

    def _step(
        self,
        order: U8,
        counts: tuple[int, int],
        limits: tuple[RowPosition | None, RowPosition | None],
    ) -> MergedStep:
        a, b = self._heads
        rows_a, clock_a, dead_letters_a = a.take(counts[0], limits[0])
        rows_b, clock_b, dead_letters_b = b.take(counts[1], limits[1])
        return MergedStep(
            rows_a, rows_b, clock_a, clock_b, order, dead_letters_a + dead_letters_b, a.at, b.at
        )


class _Head:
    """What was pushed of one log and is not delivered yet: the chunk being merged, later ones."""

    def __init__(self, record: RecordType, after: ReadCursor) -> None:
        self._rows = empty_batch(record.arrow)
        self._clock: I64 = np.empty(0, np.int64)
        self._dead_letters: tuple[DeadLetter, ...] = ()
        self._next: deque[RowChunk] = deque()
        self.keys: I64 = np.empty(0, np.int64)  # running maxima of the rows left
        self.waiting = 0
        self.at = after
        self.read_to = after.after

    @property
    def is_empty(self) -> bool:
        return len(self.keys) == 0 and not self._dead_letters and not self._next

    def push(self, chunk: RowChunk) -> None:
        self._next.append(chunk)
        if chunk.rows.num_rows:
            self.read_to = max(self.read_to, row_position(chunk.rows, chunk.rows.num_rows - 1))
        if chunk.rejected:
            self.read_to = max(self.read_to, chunk.rejected[-1].position)
        self.waiting += chunk.rows.num_rows
        self._load()

    def _load(self) -> None:
        """Go on to the next chunk when this one is used up."""
        while self._next and len(self.keys) == 0 and not self._dead_letters:
            chunk = self._next.popleft()
            self._rows, self._dead_letters = chunk.rows, chunk.rejected
            self._clock = chunk.rows.column("ts").to_numpy() if chunk.clock is None else chunk.clock
            newest = -1 if self.at.newest is None else self.at.newest
            self.keys = np.maximum.accumulate(np.maximum(self._clock, newest))

    def visible(self, limit: RowPosition | None) -> int:
        """How many rows of the chunk come at or before `limit`."""
        return len(self.keys) if limit is None else rows_through(self._rows, limit)

    def reaches(self, limit: RowPosition) -> bool:
        """Whether all rows up to `limit` are delivered or in this chunk."""
        last = self.at.position
        if len(self.keys):
            last = row_position(self._rows, len(self.keys) - 1)
        if self._dead_letters:
            last = max(self._dead_letters[-1].position, last or self._dead_letters[-1].position)
        return last is not None and last >= limit

    def take(
        self, count: int, limit: RowPosition | None
    ) -> tuple[pa.RecordBatch, I64, tuple[DeadLetter, ...]]:
        """The next rows, and the dead letters up to the row after them, or to `limit`."""
        rows, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        clock, self._clock = self._clock[:count], self._clock[count:]
        self.waiting -= count
        free = len(self._dead_letters)
        if free and self._rows.num_rows:
            after = row_position(self._rows, 0)
            free = bisect_left(self._dead_letters, after, key=attrgetter("position"))
        if free and limit is not None:
            free = min(free, sum(letter.position <= limit for letter in self._dead_letters))
        freed, self._dead_letters = self._dead_letters[:free], self._dead_letters[free:]
        positions = [freed[-1].position] if freed else []
        newest = self.at.newest
        if count:
            positions.append(row_position(rows, count - 1))
            newest = int(self.keys[count - 1])
        if positions:
            self.at = ReadCursor(max(positions), newest)
        self.keys = self.keys[count:]
        self._load()
        return rows, clock, freed


def _certain(a: I64, b: I64, over: tuple[bool, ...]) -> tuple[int, int]:
    """How many rows of each log are certain to come before all that was not pushed yet.

    a, b: running maxima of the rows that were pushed. over: for each log, whether nothing waits
    for its next rows.
    """
    until_a = FOREVER if over[0] else a[-1] if len(a) else NEVER
    until_b = FOREVER if over[1] else b[-1] if len(b) else NEVER
    return int(np.searchsorted(a, until_b, "right")), int(np.searchsorted(b, until_a, "left"))


def _order(a: I64, b: I64) -> U8:
    """0 and 1 for the rows of two sorted arrays in merged order; of equal ones a's first."""
    order = np.zeros(len(a) + len(b), np.uint8)
    order[np.arange(len(b)) + np.searchsorted(a, b, "right")] = CLICK
    return order


class Order(NamedTuple):
    """The rule `order`, given the running maxima of both logs' rows.

    certain: how many rows of each come before all that was not given yet. order: of these rows.
    """

    certain: Callable[[I64, I64, tuple[bool, ...]], tuple[int, int]]
    order: Callable[[I64, I64], U8]


ORDERS = {1: Order(_certain, _order)}  # by the number of the rule
