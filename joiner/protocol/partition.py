"""One partition's joiner as a state machine: messages in, effects out. No clock, no I/O.

    claim ── search ── history ── rebuild ── live
      │        │          │          │         └ read rows, join them, publish cuts
      │        │          │          └ take the rows since the base in the same steps again
      │        │          └ read the blocks since the last one's base
      │        └ find the last block that counts
      └ from here on nobody else's blocks count

The log is the state: whatever the joiner remembers follows from the rows of the two input logs
and the cuts in the headers of the labelled blocks. So a crash at any moment loses nothing, and
nothing is emitted twice.

Whoever drives it carries out the effects in their order, reports each acknowledgement, answers
each read, and lets go of it at the first exception.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from joiner.core.joiner import Joiner
from joiner.core.kernel_types import Idle, spans_of, with_idle_advances
from joiner.core.outputs import JoinOutput
from joiner.core.row_store import Spill
from joiner.protocol.cut import Needed, OpenCut
from joiner.protocol.effects import Commit, Effect, Publish, ReadLabelled, Report, Seek
from joiner.protocol.recovery import (
    FIRST_LOOK,
    Last,
    Rebuild,
    Written,
    cuts_since,
    eras_of,
    last_block,
    rules_named,
)
from joiner.settings import JoinSettings, SamplingSettings
from streams.arrow_ipc import encode_parts
from streams.deadletter import DeadLetter
from streams.errors import ClickloopError, DataError
from streams.events import SOURCES
from streams.labelled_log import Block, Claim, Cut, Entry, RecoveryPoint
from streams.merge import Merge
from streams.position import ReadCursor, RowPosition, rows_through
from streams.record import RecordType, RowChunk
from streams.rules import TODAY, RuleNumbers
from streams.schema import EventSchema

MAX_IN_FLIGHT = 16  # blocks published and not acknowledged

Phase = Literal["claim", "search", "history", "rebuild", "live"]


class SupersededError(ClickloopError):
    """Another writer has claimed the partition: what this one published since is void."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the joiners of a worker have in common.

    max_message_bytes: of a block. cut_rows: so many input rows after a cut the next is published
    even if nothing was labelled. spill: where rows wait that are too many for memory. rules:
    today's; `join` and `sampling` have their defaults. older: from the number of older defaults,
    the settings with these where nobody has set anything; None: they are the same.
    """

    schema: EventSchema
    join: JoinSettings
    sampling: SamplingSettings
    max_message_bytes: int = 900_000
    cut_rows: int = 100_000
    spill: Spill | None = None
    rules: RuleNumbers = TODAY
    older: Callable[[int], tuple[JoinSettings, SamplingSettings]] | None = None

    def begun_by(self, defaults: int) -> "Setup":
        """The same for a partition that began with the defaults of this number."""
        if defaults == self.rules.defaults:
            return self
        join, sampling = (self.join, self.sampling) if self.older is None else self.older(defaults)
        rules = replace(self.rules, defaults=defaults)
        return replace(self, join=join, sampling=sampling, rules=rules)


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The first offset that each of the partition's logs still has."""

    impressions: int
    clicks: int
    labelled: int


class JoinPartition:
    """The joiner of one partition, from the claim on."""

    def __init__(self, setup: Setup, writer: str) -> None:
        """writer: a random name that nobody else has."""
        self.phase: Phase = "claim"
        self._setup = setup
        self._writer = writer
        self._claim = -1
        self._number = 0  # of the last block
        self._acknowledged = -1  # the last offset of ours
        self._in_flight: deque[Block] = deque()
        self._strangers: deque[ReadLabelled] = deque()  # others' messages among ours, not read yet
        self._landed: deque[tuple[int, Block]] = deque()  # acknowledged, not known to count
        self._cut_at: tuple[int, int, Cut, RuleNumbers] | None = None  # the one being acknowledged
        self._beginnings = Beginnings(0, 0, 0)
        self._look = FIRST_LOOK
        self._last = Last()
        self._behind = False

    @property
    def is_behind(self) -> bool:
        """Whether `advance` has more to do with what was read."""
        return self.phase == "live" and self._behind

    @property
    def in_flight(self) -> int:
        """Blocks published and not acknowledged."""
        return len(self._in_flight)

    @property
    def join(self) -> JoinSettings:
        """The settings it goes by: once the history is read, with the defaults it began with."""
        return self._setup.join

    @property
    def breaker_wait(self) -> int:
        """How long emission waits at most for clicks that stay away, ms."""
        return self._setup.join.breaker_wait

    @property
    def joiner(self) -> Joiner:
        """The join itself, to look at. Only once the history is read."""
        return self._joiner

    @property
    def merge(self) -> Merge:
        """What was read and not joined yet, to look at. Only once the history is read."""
        return self._merge

    def start(self) -> list[Effect]:
        """Claim the partition."""
        return [Publish(Claim(self._writer), b"")]

    def claimed(self, offset: int, beginnings: Beginnings) -> list[Effect]:
        """The claim is in the log, at `offset`."""
        self._claim = self._acknowledged = offset
        self._beginnings = beginnings
        self.phase = "search"
        return [self._search()]

    def labelled(self, entries: list[Entry], start: int) -> list[Effect]:
        """The answer to a ReadLabelled: the messages there are; start: as it asked.

        Raises SupersededError if another writer has claimed the partition; DataError if what a
        restart needs is gone, or whatever would tell of another's claim.
        """
        match self.phase:
            case "search":
                return self._found(last_block(entries, start, self._beginnings.labelled))
            case "history":
                return self._remember(entries)
            case _:
                self._strangers.popleft()
                if not entries or entries[0].offset > start:
                    raise DataError(
                        f"the labelled topic: messages from offset {start} on were deleted before "
                        "this worker saw whether one of them was another's claim. Its retention "
                        "must be longer than a worker may sleep; start this one again."
                    )
                if any(isinstance(entry.header, Claim) for entry in entries):
                    raise SupersededError(
                        "another worker has claimed the partition, after offset "
                        f"{start - 1} of the labelled topic; what this one published since is void"
                    )
                return self._count()

    def read(self, source: int, end: int, decode: Callable[[RuleNumbers], RowChunk]) -> None:
        """The next messages of an input log (IMPRESSION or CLICK), up to offset `end`, without it.

        decode: gives the rows of these messages, judged by the rules of such numbers. Up to the
        last cut they are judged by the rules that their cuts name, after it by today's; messages
        in which both hold are decoded by both. Rows known are ignored.
        """
        eras = self._eras[source]
        while eras:
            through, rules = eras[0]
            self._push(source, decode(rules), through)
            if end <= through[0]:
                return
            eras.popleft()
        self._push(source, decode(self._setup.rules))

    def _push(self, source: int, chunk: RowChunk, through: RowPosition | None = None) -> None:
        """Take what is new in a chunk, up to and with the place `through`."""
        place = self._merge.read_to(source)
        known, stop = rows_through(chunk.rows, place), chunk.rows.num_rows
        letters = [letter for letter in chunk.rejected if letter.position > place]
        if through is not None:
            stop = max(known, rows_through(chunk.rows, through))
            letters = [letter for letter in letters if letter.position <= through]
        clock = None if chunk.clock is None else chunk.clock[known:stop]
        rows = chunk.rows.slice(known, stop - known)
        self._merge.push(source, RowChunk(rows, tuple(letters), clock))

    def advance(
        self,
        idle: tuple[bool, bool] = (False, False),
        *,
        waited: bool = False,
        flush: bool = False,
    ) -> list[Effect]:
        """Join what was read, and publish what follows.

        idle: of each log, whether it is caught up with its end and has been silent for long: it
        then does not hold the watermark back, unless the breaker is open. waited: whether it has
        been silent for so long that the breaker must not wait any longer. flush: publish a cut even
        if nothing was labelled.

        Raises DataError when rows read again are not those that were joined before, or one row
        is too large for a message.
        """
        effects: list[Effect] = []
        if self.phase == "rebuild":
            if not self._rebuild.advance():
                return []
            effects += self._go_live()
        if self.phase != "live" or len(self._in_flight) >= MAX_IN_FLIGHT:
            return effects
        effects += self._join(idle, waited=waited)
        if flush or self._open.labelled or self._open.read >= self._setup.cut_rows:
            effects += self._cut()
        return effects

    def acknowledged(self, offset: int) -> list[Effect]:
        """The oldest block in flight is in the log, at `offset`."""
        effects: list[Effect] = []
        if offset > self._acknowledged + 1:
            self._strangers.append(ReadLabelled(self._acknowledged + 1, offset))
            effects.append(self._strangers[-1])
        self._acknowledged = offset
        self._landed.append((offset, self._in_flight.popleft()))
        return effects + self._count()

    def _search(self) -> ReadLabelled:
        start = max(self._beginnings.labelled, self._claim - self._look)
        return ReadLabelled(start, self._claim)

    def _found(self, last: Last | None) -> list[Effect]:
        if last is None:
            self._look *= 2
            return [self._search()]
        self._last = last
        if last.block is None:
            begins = self._beginnings
            base = RecoveryPoint(self._claim, 0, (begins.impressions, -1), (begins.clicks, -1))
            return self._begin(base, None, [])
        self.phase = "history"
        return [ReadLabelled(last.block.recovery_point.offset, last.offset + 1)]

    def _remember(self, entries: list[Entry]) -> list[Effect]:
        assert self._last.block is not None
        base, self._number = self._last.block.recovery_point, self._last.block.number
        return self._begin(base, *cuts_since(base, self._last.block, entries, self._setup.rules))

    def _begin(self, base: RecoveryPoint, cut: Cut | None, written: list[Written]) -> list[Effect]:
        """Go on from `base`, where the joiner was as `cut` says."""
        for name, place, first in (
            ("impressions", base.impressions, self._beginnings.impressions),
            ("clicks", base.clicks, self._beginnings.clicks),
        ):
            if first > place[0] + 1:
                raise DataError(
                    f"the {name} topic: a restart needs its messages from offset {place[0]} on, "
                    f"the first there is {first}. Its retention must be longer than impressions "
                    "stay known; what was deleted can only be left out: start with new topics."
                )
        # The settings of now, but with the defaults that held when the log began.
        began = written[0].cut if cut is None and written else cut
        if began is not None:
            named = rules_named(began, self._setup.rules)
            self._setup = self._setup.begun_by(named.defaults)
        setup = self._setup
        newest = (None, None) if cut is None else cut.newest
        self._merge = Merge(
            (RecordType("impressions", setup.schema), RecordType("clicks", setup.schema)),
            (ReadCursor(base.impressions, newest[0]), ReadCursor(base.clicks, newest[1])),
        )
        self._joiner = (
            Joiner(setup.schema, setup.join, setup.sampling, setup.spill, setup.rules)
            if cut is None
            else Joiner.without_rows(setup.schema, cut.joiner, setup.spill, setup.rules)
        )
        self._needed = Needed(base)
        for one in written:
            if one.complete:
                self._needed.add(one.offset, one.number, one.cut, one.rules)
        self._eras = [eras_of(written, source, setup.rules) for source in SOURCES]
        self._base = base
        self._rebuild = Rebuild(self._joiner, self._merge, written)
        self._written = written[-1] if written else None
        self.phase = "rebuild"
        return [Seek(base.impressions[0], base.clicks[0])]

    def _go_live(self) -> list[Effect]:
        """What was joined before is known again: finish the last cut, take today's settings."""
        effects: list[Effect] = list(self._rebuild.reports)
        last = self._written
        if last is not None and not last.complete:
            self._cut_at = last.offset, last.number, last.cut, last.rules
            rest = _after(self._rebuild.labelled, last.rows)
            effects += self._publish(None, rest, self._base)
        self._joiner.adopt(self._setup.join, self._setup.sampling, self._setup.rules)
        self._merge.order = self._setup.rules.order
        self._open = OpenCut(self._joiner)
        self.phase = "live"
        return effects

    def _count(self) -> list[Effect]:
        """Blocks of ours that are in the log, and before which nobody else claimed it."""
        effects: list[Effect] = []
        while self._landed and not self._strangers:
            offset, block = self._landed.popleft()
            if block.cut is not None:
                self._cut_at = offset, block.number, block.cut, self._setup.rules
            if block.complete and self._cut_at is not None:
                self._needed.add(*self._cut_at)
                effects = [
                    Commit(block.recovery_point.impressions[0], block.recovery_point.clicks[0])
                ]
        return effects

    def _join(self, idle: tuple[bool, bool], *, waited: bool) -> list[Effect]:
        """Take all that is certain to come next."""
        effects: list[Effect] = []
        lifts = waited or not self._joiner.breaker.open
        done = tuple(lifts and idle[s] and self._merge.needs(s) for s in SOURCES)
        logs = Idle(0)
        for source, bit in zip(SOURCES, (Idle.IMPRESSIONS, Idle.CLICKS), strict=True):
            logs |= bit if done[source] else Idle(0)
        logs |= Idle.EVEN_IF_OPEN if logs and waited else Idle(0)
        self._behind = False
        if logs:
            # What is taken without waiting for a log is not in the order of later rows of it.
            self._open.stop(self._merge, Idle(0))
            if self._joiner.is_held_back(logs):
                output = self._joiner.lift(logs)
                self._open.lifted(output)
                effects += _reports((), output)
        while not self._behind and (step := self._merge.take((done[0], done[1]))) is not None:
            self._joiner.count_letters(step.rejected)
            order = with_idle_advances(step.order, logs)
            clocks = step.impression_clock, step.click_clock
            output = self._joiner.process(step.impressions, step.clicks, order, clocks)
            self._open.add(step, output)
            effects += _reports(step.rejected, output)
            self._behind = self._open.read >= self._setup.cut_rows
        if logs:
            self._open.stop(self._merge, logs)
        return effects

    def _cut(self) -> list[Effect]:
        """Publish what was joined since the last cut."""
        cut = self._open.close(self._joiner, self._merge)
        opened = self._open
        spans = spans_of(self._setup.join, self._setup.rules)
        base = self._needed.base(opened.watermark, opened.oldest_open, spans)
        effects = self._publish(cut, opened.labelled, base)
        self._open = OpenCut(self._joiner)
        return effects

    def _publish(
        self, cut: Cut | None, labelled: list[pa.RecordBatch], base: RecoveryPoint
    ) -> list[Effect]:
        """The blocks of a cut, or (None) those of it that are missing."""
        schema, limit = self._setup.schema.labelled, self._setup.max_message_bytes
        parts = encode_parts(labelled, schema, limit) if labelled else [(0, b"")]
        strangers = self._strangers
        effects: list[Effect] = []
        for at, (rows, value) in enumerate(parts):
            self._number += 1
            block = Block(
                writer=self._writer,
                claim=self._claim,
                seen=strangers[0].start - 1 if strangers else self._acknowledged,
                number=self._number,
                recovery_point=base,
                rows=rows,
                complete=at + 1 == len(parts),
                cut=cut if at == 0 else None,
            )
            self._in_flight.append(block)
            effects.append(Publish(block, value))
        return effects


def _reports(letters: tuple[DeadLetter, ...], output: JoinOutput) -> list[Report]:
    if letters or output.rejected.num_rows or output.late.num_rows:
        return [Report(letters, output.rejected, output.late)]
    return []


def _after(batches: list[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """The batches without their first `rows` rows."""
    left = []
    for batch in batches:
        if rows < batch.num_rows:
            left.append(batch.slice(rows))
        rows = max(rows - batch.num_rows, 0)
    return left
