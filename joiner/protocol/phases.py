"""The phases of a partition's joiner: what each holds, and what each event does in it.

    ClaimPhase      the claim is on its way; from its offset on no other writer's blocks count
    SearchPhase     finds the last block that counts
    HistoryPhase    reads the blocks since the last block's recovery point
    RecoveryPhase   takes the rows since the recovery point again, in the same steps
    LivePhase       reads rows, joins them, publishes cuts

An event that ends a phase gives the next one.
"""

from typing import ClassVar, Literal, NamedTuple, TypeAlias

import pyarrow as pa

from joiner.core.joiner import Joiner
from joiner.core.kernel_types import Idle, spans_of, with_idle_advances
from joiner.core.outputs import JoinOutput
from joiner.protocol.block_writer import BlockWriter
from joiner.protocol.config import Beginnings, PartitionConfig
from joiner.protocol.cut import CutBuilder, RecoveryPoints
from joiner.protocol.effects import Commit, Effect, Publish, ReadLabelled, Report, Seek
from joiner.protocol.input_logs import InputLogs
from joiner.protocol.recovery import (
    FIRST_LOOK,
    PublishedCut,
    Recovery,
    cuts_since,
    last_block,
    rules_named,
)
from streams.deadletter import DeadLetter
from streams.errors import DataError
from streams.events import SOURCES
from streams.labelled_log import Block, Claim, Cut, Entry, RecoveryPoint
from streams.rules import RuleNumbers

PhaseName = Literal["claim", "search", "history", "recovery", "live"]


class OwnClaim(NamedTuple):
    """The claim of this writer: its random name, the claim's offset, and where the logs began."""

    writer: str
    offset: int
    beginnings: Beginnings


class ClaimPhase:
    """The claim is on its way."""

    name: ClassVar[PhaseName] = "claim"

    def __init__(self, config: PartitionConfig, writer: str) -> None:
        """writer: a random name that nobody else has."""
        self.config = config
        self._writer = writer

    def start(self) -> list[Effect]:
        """Claim the partition."""
        return [Publish(Claim(self._writer), b"")]

    def claimed(self, offset: int, beginnings: Beginnings) -> "Transition":
        """The claim is in the log, at `offset`."""
        search = SearchPhase(self.config, OwnClaim(self._writer, offset, beginnings))
        return search, [search.ask()]


class SearchPhase:
    """The last block that counts is looked for, backwards from the claim."""

    name: ClassVar[PhaseName] = "search"

    def __init__(self, config: PartitionConfig, claim: OwnClaim) -> None:
        """claim: of this writer, in the log."""
        self.config = config
        self._claim = claim
        self._look = FIRST_LOOK  # so many messages before the claim are read

    def ask(self) -> ReadLabelled:
        """The messages to read next."""
        start = max(self._claim.beginnings.labelled, self._claim.offset - self._look)
        return ReadLabelled(start, self._claim.offset)

    def labelled(self, entries: list[Entry], start: int) -> "Transition":
        """The messages of the offsets from `start` to the claim."""
        beginnings = self._claim.beginnings
        last = last_block(entries, start, beginnings.labelled)
        if last is None:
            self._look *= 2
            return self, [self.ask()]
        if last.block is None:
            first = (beginnings.impressions, -1), (beginnings.clicks, -1)
            point = RecoveryPoint(self._claim.offset, 0, *first)
            return _recover(self.config, self._claim, 0, point, None, [])
        history = HistoryPhase(self.config, self._claim, last.block)
        return history, [ReadLabelled(last.block.recovery_point.offset, last.offset + 1)]


class HistoryPhase:
    """The blocks since the recovery point are read."""

    name: ClassVar[PhaseName] = "history"

    def __init__(self, config: PartitionConfig, claim: OwnClaim, last: Block) -> None:
        """last: the last block that counts."""
        self.config = config
        self._claim = claim
        self._last = last

    def labelled(self, entries: list[Entry], start: int) -> "Transition":
        """The messages from the recovery point to the last block. Raises as `cuts_since` does."""
        del start
        point = self._last.recovery_point
        cut, cuts = cuts_since(point, self._last, entries, self.config.rules)
        return _recover(self.config, self._claim, self._last.number, point, cut, cuts)


class RecoveryPhase:
    """The rows since the recovery point are taken again, in the steps of the published cuts."""

    name: ClassVar[PhaseName] = "recovery"

    def __init__(
        self,
        config: PartitionConfig,
        writer: BlockWriter,
        point: RecoveryPoint,
        cut: Cut | None,
        cuts: list[PublishedCut],
    ) -> None:
        """point: where to begin; cut: the cut there. cuts: published after it.

        Raises DataError if a cut was made by a newer rule.
        """
        # The settings of now, but with the defaults that held when the log began.
        first = cuts[0].cut if cut is None and cuts else cut
        if first is not None:
            config = config.begun_by(rules_named(first, config.rules).defaults)
        self.config = config
        self.writer = writer
        newest = (None, None) if cut is None else cut.newest
        self.inputs = InputLogs(config, point, newest, [(c.cut, c.rules) for c in cuts])
        self.joiner = (
            Joiner(config.schema, config.join, config.sampling, config.spill, config.rules)
            if cut is None
            else Joiner.without_rows(config.schema, cut.joiner, config.spill, config.rules)
        )
        self._point = point
        self._points = RecoveryPoints(point)
        for published in cuts:
            if published.complete:
                self._points.add(published.offset, published.number, published.cut, published.rules)
        self._recovery = Recovery(self.joiner, self.inputs.merge, cuts)
        self._last = cuts[-1] if cuts else None

    def advance(self) -> "tuple[LivePhase, list[Effect]] | None":
        """Take what was read; None: there is more to come.

        When all is done, the blocks that the last cut is missing are published. Raises DataError
        if the rows are not those that were joined before.
        """
        if not self._recovery.advance():
            return None
        effects: list[Effect] = list(self._recovery.reports)
        incomplete = None
        if self._last is not None and not self._last.complete:
            incomplete = self._last
            missing = _after(self._recovery.labelled, incomplete.rows)
            effects += self.writer.publish(None, missing, self._point)
        live = LivePhase(
            self.config, self.writer, self.inputs, self.joiner, self._points, incomplete
        )
        return live, effects


class _Landing(NamedTuple):
    """A cut whose blocks are being acknowledged: offset and number of its first block."""

    offset: int
    number: int
    cut: Cut
    rules: RuleNumbers


class LivePhase:
    """Rows are read and joined, and cuts are published."""

    name: ClassVar[PhaseName] = "live"

    def __init__(
        self,
        config: PartitionConfig,
        writer: BlockWriter,
        inputs: InputLogs,
        joiner: Joiner,
        points: RecoveryPoints,
        incomplete: PublishedCut | None,
    ) -> None:
        """joiner: at the last cut; from here on it goes by the settings and rules of `config`.

        incomplete: the last cut, if its missing blocks were published just now.
        """
        self.config = config
        self.writer = writer
        self.inputs = inputs
        self.joiner = joiner
        self._points = points
        self._landing: _Landing | None = None
        if incomplete is not None:
            self._landing = _Landing(
                incomplete.offset, incomplete.number, incomplete.cut, incomplete.rules
            )
        joiner.reconfigure(config.join, config.sampling, config.rules)
        inputs.merge.order = config.rules.order
        self._cut = CutBuilder(joiner)
        self.is_behind = False  # whether `advance` has more to do with what was read

    def advance(self, idle: tuple[bool, bool], *, even_if_open: bool, flush: bool) -> list[Effect]:
        """Join what was read, and publish what follows; see `JoinPartition.advance`."""
        if self.writer.is_full:
            return []
        effects: list[Effect] = self._join(idle, even_if_open=even_if_open)
        if flush or self._cut.labelled or self._cut.read >= self.config.cut_rows:
            effects += self._publish_cut()
        return effects

    def acknowledged(self, offset: int) -> list[Effect]:
        """The oldest block in flight is in the log, at `offset`."""
        return self.writer.acknowledged(offset) + self._count()

    def labelled(self, entries: list[Entry], start: int) -> "Transition":
        """The messages of other writers that were found among this writer's own.

        Raises FencedError if one of them is a claim; DataError if some were deleted unread.
        """
        self.writer.check_foreign(entries, start)
        return self, self._count()

    def _count(self) -> list[Effect]:
        """Take account of the blocks that count since the last call."""
        effects: list[Effect] = []
        for offset, block in self.writer.counted():
            if block.cut is not None:
                self._landing = _Landing(offset, block.number, block.cut, self.config.rules)
            if block.complete and self._landing is not None:
                self._points.add(*self._landing)
                point = block.recovery_point
                effects = [Commit(point.impressions[0], point.clicks[0])]
        return effects

    def _join(self, idle: tuple[bool, bool], *, even_if_open: bool) -> list[Effect]:
        """Join all rows that are certain to come next."""
        effects: list[Effect] = []
        merge, joiner = self.inputs.merge, self.joiner
        may_advance = even_if_open or not joiner.breaker.open
        # Logs for whose next rows nothing waits.
        done = tuple(may_advance and idle[s] and merge.needs(s) for s in SOURCES)
        advanced = Idle.of(done[0], done[1], even_if_open=even_if_open)
        self.is_behind = False
        if advanced:
            # Rows that were taken while a log was idle need not be in the order of its later rows.
            self._cut.stop(merge, Idle(0))
            if joiner.is_held_back(advanced):
                output = joiner.advance_idle(advanced)
                self._cut.add_idle_advance(output)
                effects += _reports((), output)
        while not self.is_behind and (step := merge.take((done[0], done[1]))) is not None:
            joiner.count_dead_letters(step.rejected)
            order = with_idle_advances(step.order, advanced)
            clocks = step.impression_clock, step.click_clock
            output = joiner.process(step.impressions, step.clicks, order, clocks)
            self._cut.add(step, output)
            effects += _reports(step.rejected, output)
            self.is_behind = self._cut.read >= self.config.cut_rows
        if advanced:
            self._cut.stop(merge, advanced)
        return effects

    def _publish_cut(self) -> list[Effect]:
        """Publish what was joined since the last cut."""
        cut = self._cut.close(self.joiner, self.inputs.merge)
        spans = spans_of(self.config.join, self.config.rules)
        point = self._points.latest(self._cut.watermark, self._cut.oldest_open, spans)
        effects = self.writer.publish(cut, self._cut.labelled, point)
        self._cut = CutBuilder(self.joiner)
        return effects


Phase: TypeAlias = ClaimPhase | SearchPhase | HistoryPhase | RecoveryPhase | LivePhase
Transition: TypeAlias = tuple[Phase, list[Effect]]


def _recover(
    config: PartitionConfig,
    claim: OwnClaim,
    number: int,
    point: RecoveryPoint,
    cut: Cut | None,
    cuts: list[PublishedCut],
) -> Transition:
    """Begin the recovery from `point`, with the joiner as `cut` says. number: of the last block.

    Raises DataError if rows after the point were deleted.
    """
    for name, position, first in (
        ("impressions", point.impressions, claim.beginnings.impressions),
        ("clicks", point.clicks, claim.beginnings.clicks),
    ):
        if first > position[0] + 1:
            raise DataError(
                f"the {name} topic: a restart needs its messages from offset {position[0]} on, "
                f"the first there is {first}. Its retention must be longer than impressions "
                "stay known; what was deleted can only be left out: start with new topics."
            )
    writer = BlockWriter(config, claim.writer, claim.offset, number)
    phase = RecoveryPhase(config, writer, point, cut, cuts)
    return phase, [Seek(point.impressions[0], point.clicks[0])]


def _reports(rejected: tuple[DeadLetter, ...], output: JoinOutput) -> list[Report]:
    if rejected or output.rejected.num_rows or output.late.num_rows:
        return [Report(rejected, output.rejected, output.late)]
    return []


def _after(batches: list[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """The batches without their first `rows` rows."""
    remaining = []
    for batch in batches:
        if rows < batch.num_rows:
            remaining.append(batch.slice(rows))
        rows = max(rows - batch.num_rows, 0)
    return remaining
