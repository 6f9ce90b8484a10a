"""Two logs as one stream of events, in the order of their times.

The order is that of a classic merge: of the two next rows the one with the lower `ts` goes
first, the impression on a tie. Where the logs themselves are out of order, rows stay in their
log's order. This equals merging by each log's running maximum of `ts`: a row behind its log's
maximum is next as soon as the row with that maximum has gone. Those maxima are sorted, so whole
chunks are merged by binary search.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from streams.deadletter import DeadLetter
from streams.jit import I64, U8
from streams.record import Chunk, Position, Record, place_of

IMPRESSION, CLICK, IMPRESSIONS_END, CLICKS_END = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Step:
    """The next events of the merged stream.

    impressions, clicks: batches (perhaps of 0 rows) in the schemas of `EventSchema`.
    order: uint8, the order of events: `IMPRESSION` or `CLICK` takes the next row of that
    batch; `IMPRESSIONS_END` and `CLICKS_END`, each once in the stream, stand directly after
    the last row of that log.
    rejects: the dead letters of both logs up to these rows.
    impressions_at, clicks_at: how far each log is delivered after this step; a log opened
    after this position goes on with exactly what follows.
    """

    impressions: pa.RecordBatch
    clicks: pa.RecordBatch
    order: U8
    rejects: tuple[DeadLetter, ...]
    impressions_at: Position
    clicks_at: Position


class Chunks(Protocol):
    """One log to merge: `streams.logs.Log`, or anything else that gives chunks in order."""

    @property
    def record(self) -> Record:
        """What its rows are."""

    @property
    def after(self) -> Position:
        """The position that it begins after."""

    def __iter__(self) -> Iterator[Chunk]: ...


def merged(impressions: Chunks, clicks: Chunks) -> Iterator[Step]:
    """Merge two logs by time, as the module says; the impressions go first on a tie.

    Reads a chunk of a log only when the last one is used up, so it holds about one of each.
    Where steps begin depends on the chunks; their rows, letters and markers in sequence do not.
    """
    a, b = _Head(impressions, IMPRESSIONS_END), _Head(clicks, CLICKS_END)
    while not (a.ended and b.ended):
        ends = []
        for head in (a, b):
            while head.needs_chunk:
                if not head.load():
                    ends.append(head.end)
                elif head.needs_chunk:  # a chunk of letters only
                    yield _step(a, b, [], 0, 0)
        yield _step(a, b, ends, *_certain(a, b))


class _Head:
    """What is left of the chunk of one log that is being merged."""

    def __init__(self, log: Chunks, end: int) -> None:
        self._chunks = iter(log)
        self._rows = pa.RecordBatch.from_pylist([], schema=log.record.arrow)
        self._letters: tuple[DeadLetter, ...] = ()
        self.keys: I64 = np.empty(0, np.int64)  # running maxima of the rows left
        self.end = end
        self.at = log.after
        self.ended = False

    @property
    def needs_chunk(self) -> bool:
        return len(self.keys) == 0 and not self.ended

    def load(self) -> bool:
        """Read the next chunk; false if there is none, that is, the log has ended."""
        chunk = next(self._chunks, None)
        if chunk is None:
            self.ended = True
            return False
        self._rows, self._letters = chunk.rows, chunk.rejects
        ts: I64 = chunk.rows.column("ts").to_numpy()
        newest = -1 if self.at.newest is None else self.at.newest
        self.keys = np.maximum.accumulate(np.maximum(ts, newest))
        return True

    def take(self, count: int) -> tuple[pa.RecordBatch, tuple[DeadLetter, ...]]:
        """The next rows, and the letters up to the row that comes after them."""
        rows, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        free = len(self._letters)
        if len(self._rows):
            after = place_of(self._rows, 0)
            free = bisect_left(self._letters, after, key=lambda letter: letter.place)
        letters, self._letters = self._letters[:free], self._letters[free:]
        places = [letters[-1].place] if letters else []
        newest = self.at.newest
        if count:
            places.append(place_of(rows, count - 1))
            newest = int(self.keys[count - 1])
        if places:
            self.at = Position(max(places), newest)
        self.keys = self.keys[count:]
        return rows, letters


def _certain(a: _Head, b: _Head) -> tuple[int, int]:
    """How many rows of each are certain to come before all that has not been read yet."""
    if a.ended or b.ended:
        return len(a.keys), len(b.keys)
    if a.keys[-1] <= b.keys[-1]:
        return len(a.keys), int(np.searchsorted(b.keys, a.keys[-1], "left"))
    return int(np.searchsorted(a.keys, b.keys[-1], "right")), len(b.keys)


def _step(a: _Head, b: _Head, ends: list[int], from_a: int, from_b: int) -> Step:
    """Ends of logs, then so many rows of each."""
    events = _order(a.keys[:from_a], b.keys[:from_b])
    rows_a, letters_a = a.take(from_a)
    rows_b, letters_b = b.take(from_b)
    order = np.concatenate([np.array(ends, np.uint8), events])
    return Step(rows_a, rows_b, order, letters_a + letters_b, a.at, b.at)


def _order(a: I64, b: I64) -> U8:
    """0 and 1 for the rows of two sorted arrays in merged order; a's before equal ones of b."""
    order = np.zeros(len(a) + len(b), np.uint8)
    order[np.arange(len(b)) + np.searchsorted(a, b, "right")] = CLICK
    return order
