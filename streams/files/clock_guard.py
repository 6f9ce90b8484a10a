"""The guard against clocks that run ahead.

The greatest time seen drives everything downstream: one row from a machine whose clock is a year
fast would close every window. But a log may also really pause for a night. The rows that follow
tell the two apart: after a real pause rows go on from the new time; after a wrong time rows fall
back behind it.

The rule. Let M be the greatest `ts` accepted so far in the log. A row with `ts` ≤ M + max_jump
is accepted. A row ahead of that, and a row with none accepted before it, is judged by the next
`agree_rows` rows of the log, or by the rows left at its end: a row agrees unless it is more than
max_jump behind the judged row. If at least half of them agree, the judged row is
accepted, otherwise rejected (`too_far_ahead`). A row with none left is accepted: it can spoil no
later row. So a fast machine is caught as long as it writes less than half of any stretch of
`agree_rows` rows, and a slow one never stops the others.

The outcome depends on the rows alone, not on how they are divided into chunks.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from streams.compute.arrays import I64, Bool
from streams.compute.jit import kernel
from streams.deadletter import DeadLetter, raw_row
from streams.duration import Duration, readable
from streams.position import row_position
from streams.record import RecordType, RowChunk
from streams.rules import TODAY

_NOTHING = -1  # the newest time while no row has been accepted


class GuardSettings(BaseModel, frozen=True, extra="forbid"):
    """When a row is too far ahead of its log to be believed."""

    max_jump: Duration = Field(
        default=3_600_000,
        ge=1,
        le=3650 * 86_400_000,
        description="How far a row may be ahead of the newest row before it without being "
        "questioned. A duration, 1 ms to 3650 days.",
    )
    agree_rows: int = Field(
        default=128,
        ge=1,
        le=65_536,
        description="How many of the following rows judge one that is further ahead: it is "
        "accepted if at least half of them are not more than `max_jump` behind it. Rows, 1 to "
        "65536; more than twice the rows that one machine writes in a burst.",
    )


# Refuses nothing: for rows that were accepted once, or whose order in time does not matter.
OFF = GuardSettings(max_jump=3650 * 86_400_000, agree_rows=1)


@kernel
def judge(
    ts: I64, newest: int, max_jump: int, agree_rows: int, complete: bool, good: Bool
) -> tuple[int, int]:
    """Judge rows by the rule above, as far as that can be done.

    ts: int64 [n], milliseconds, not negative. newest: M, or -1. complete: whether no rows
    follow these. good: bool [n], written for the rows that were judged.
    Returns how many were judged, from the first on, and the new M.
    """
    rows = len(ts)
    for i in range(rows):
        t = ts[i]
        if newest < 0 or t > newest + max_jump:
            end = i + 1 + agree_rows
            if end > rows:
                if not complete:
                    return i, newest
                end = rows
            agree = 0
            for j in range(i + 1, end):
                if ts[j] >= t - max_jump:
                    agree += 1
            good[i] = 2 * agree >= end - i - 1
            if not good[i]:
                continue
        else:
            good[i] = True
        newest = max(newest, t)
    return rows, newest


# By the number of the rule `clock`.
JUDGES: dict[int, Callable[[I64, int, int, int, bool, Bool], tuple[int, int]]] = {1: judge}


class Guard:
    """Applies the rule to the chunks of one log; holds back rows that cannot be judged yet.

    Rows and dead letters come out in the order of their positions.
    """

    def __init__(
        self,
        settings: GuardSettings,
        record: RecordType,
        files: list[str],
        newest: int | None,
        rule: int = TODAY.clock,
    ) -> None:
        """files: the log's files in order. newest: M, in a log that is read on. rule: the number
        of the rule `clock`.
        """
        self._judge = JUDGES[rule]
        self._settings = settings
        self._record = record
        self._files = files
        self._newest = _NOTHING if newest is None else newest
        self._ts = np.empty(0, np.int64)  # of the rows held back
        self._held: deque[pa.RecordBatch] = deque()
        self._dead_letters: list[DeadLetter] = []

    def feed(self, chunk: RowChunk) -> Iterator[RowChunk]:
        """Take the next chunk of the log; give what can be judged now."""
        self._held.append(chunk.rows)
        self._dead_letters += chunk.rejected
        self._ts = np.concatenate([self._ts, chunk.rows.column("ts").to_numpy()])
        return self._judged(complete=False)

    def finish(self) -> Iterator[RowChunk]:
        """The log has ended: give the rest."""
        return self._judged(complete=True)

    def _judged(self, complete: bool) -> Iterator[RowChunk]:
        good = np.empty(len(self._ts), np.bool_)
        jump, agree = self._settings.max_jump, self._settings.agree_rows
        count, self._newest = self._judge(self._ts, self._newest, jump, agree, complete, good)
        self._ts = self._ts[count:]
        while self._held:
            batch = self._held.popleft()
            part = batch.slice(0, count)
            if len(part) < len(batch):
                self._held.appendleft(batch.slice(len(part)))
            chunk = self._chunk(part, good[: len(part)])
            if len(chunk.rows) or chunk.rejected:
                yield chunk
            if len(part) < len(batch):
                return
            good, count = good[len(part) :], count - len(part)

    def _chunk(self, rows: pa.RecordBatch, good: Bool) -> RowChunk:
        """The good ones of these rows, and the dead letters before the rows still held."""
        if not good.all():
            self._dead_letters += [
                self._dead_letter(rows, i) for i in np.flatnonzero(~good).tolist()
            ]
            self._dead_letters.sort(key=lambda dead_letter: dead_letter.position)
            rows = rows.filter(pa.array(good))
        next_row = next((row_position(batch, 0) for batch in self._held if len(batch)), None)
        free = len(self._dead_letters)
        if next_row is not None:
            free = bisect_left(self._dead_letters, next_row, key=attrgetter("position"))
        freed, self._dead_letters = self._dead_letters[:free], self._dead_letters[free:]
        return RowChunk(rows, tuple(freed))

    def _dead_letter(self, rows: pa.RecordBatch, i: int) -> DeadLetter:
        src_offset, src_row = row_position(rows, i)
        click_type = None
        if self._record.source == "clicks":
            click_type = self._record.schema.click_types[rows.column("type")[i].as_py()]
        jump = readable(self._settings.max_jump)
        detail = (
            f"ts is {rows.column('ts')[i]}, more than {jump} ahead of most of the rows that "
            f"follow it; at most {jump} is expected"
        )
        return DeadLetter(
            self._record.source,
            self._files[src_offset],
            src_offset,
            src_row,
            "too_far_ahead",
            detail,
            raw_row(rows, i),
            click_type,
        )
