"""How a new owner of a partition finds the state of the joiner before it, and goes on from there.

The new owner has claimed the partition. It looks for the last block that counts before its claim,
and reads the blocks from that block's recovery point on: they hold every cut since. Then the joiner
takes the rows of the input logs again, in just the same steps.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from joiner.core.joiner import Joiner
from joiner.core.kernel_types import NOT_ACCEPTED, NOT_EARLY, Idle, with_idle_advances
from joiner.core.outputs import JoinOutput
from joiner.protocol.effects import Report
from joiner.settings import JoinSettings, SamplingSettings
from streams.compute.arrays import Bool
from streams.deadletter import DeadLetter
from streams.errors import DataError
from streams.events import CLICK, IMPRESSION
from streams.labelled_log import Block, Claim, Cut, Entry, FencingFilter, RecoveryPoint
from streams.merge import Merge, MergedStep
from streams.rules import RuleNumbers

FIRST_LOOK = 64  # messages; twice as many each time


@dataclass(frozen=True, slots=True)
class PublishedCut:
    """A cut as the labelled topic has it.

    rules: those it was made by. offset, number: of its first block. rows: how many of its examples
    were published. complete: whether these are all.
    """

    cut: Cut
    rules: RuleNumbers
    offset: int
    number: int
    rows: int
    complete: bool


@dataclass(frozen=True, slots=True)
class LastBlock:
    """The last block that counts, and its offset; block None: no block was published yet."""

    offset: int = -1
    block: Block | None = None


def last_block(entries: list[Entry], start: int, beginning: int) -> LastBlock | None:
    """The last block that counts among the messages of the offsets from `start` on.

    beginning: the first offset that the topic still has. The result is None if messages from
    before `start` must be read too. A block counts if nobody claimed the partition between its
    `seen` and its own offset. A claim that retention has deleted is known by the blocks of its
    writer.
    """
    claims = {entry.offset for entry in entries if isinstance(entry.header, Claim)}
    claims |= {entry.header.claim for entry in entries if isinstance(entry.header, Block)}
    for entry in reversed(entries):
        block = entry.header
        if isinstance(block, Block):
            if block.seen + 1 < start and start > beginning:
                return None
            if not any(block.seen < claim < entry.offset for claim in claims):
                return LastBlock(entry.offset, block)
    return LastBlock() if start <= beginning else None


def rules_named(cut: Cut, today: RuleNumbers) -> RuleNumbers:
    """The rules that a cut was made by; today: the newest that this program knows.

    Raises DataError if it was made by a newer one.
    """
    try:
        return RuleNumbers.of(cut.joiner, today)
    except ValueError as error:
        raise DataError(
            f"the labelled topic: the cut up to {cut.end.impressions} and {cut.end.clicks} "
            f"(offset, row) was {error}"
        ) from None


def cuts_since(
    start: RecoveryPoint, last: Block, entries: list[Entry], today: RuleNumbers
) -> tuple[Cut | None, list[PublishedCut]]:
    """The cut at a recovery point (None: nothing was read then), and the cuts published after it.

    entries: the messages from the recovery point's offset to the last block that counts, `last`.
    today: the newest rules that this program knows. Raises DataError if some of the messages are
    gone, or a cut was made by a newer rule.
    """
    if not entries or entries[0].offset != start.offset:
        first = entries[0].offset if entries else "none"
        raise DataError(
            f"the labelled topic: a restart needs its messages from offset {start.offset} on, the "
            f"first there is {first}. Its retention must be longer than impressions stay known."
        )
    fencing = FencingFilter()
    blocks = [(e.offset, block) for e in entries if (block := fencing.take(e)) is not None]
    at_start: Cut | None = None
    if start.number:
        at_start = blocks.pop(0)[1].cut
        while blocks and blocks[0][1].cut is None:
            del blocks[0]
    cuts: list[PublishedCut] = []
    for offset, block in blocks:
        if block.cut is not None:
            cut, rules = block.cut, rules_named(block.cut, today)
            cuts.append(PublishedCut(cut, rules, offset, block.number, block.rows, block.complete))
        else:
            rows = cuts[-1].rows + block.rows
            cuts[-1] = replace(cuts[-1], rows=rows, complete=block.complete)
        if block.number == last.number:
            break
    return at_start, cuts


class Recovery:
    """Brings a joiner through the published cuts again, as their rows are read again.

    Nothing is published or counted. Only of a last cut that was not published whole are the
    examples (`labelled`) and the reports kept.
    """

    def __init__(self, joiner: Joiner, merge: Merge, cuts: list[PublishedCut]) -> None:
        """joiner, merge: at the recovery point. cuts: published after it, in order."""
        self._joiner = joiner
        self._merge = merge
        self._remaining = deque(cuts)
        self._stop = 0  # steps of the first remaining cut that are done
        self._rows = (0, 0)  # rows of each log in these steps
        # What the first remaining cut says of the rows that are still to come in it.
        self._not_accepted, self._not_early = _flags(cuts[0].cut) if cuts else (_NONE, _NONE)
        self.labelled: list[pa.RecordBatch] = []
        self.reports: list[Report] = []

    def advance(self) -> bool:
        """Take what was read; true when all cuts are done.

        Raises DataError if the rows are not those that were joined before.
        """
        while self._remaining:
            if not self._take_steps(self._remaining[0]):
                return False
            cut = self._remaining.popleft().cut
            self._finish(cut)
            if not self._remaining and self._joiner.open_impressions != cut.joiner["open"]:
                raise _changed(cut)
        return True

    def _take_steps(self, published: PublishedCut) -> bool:
        """Take the steps of a cut; true when all are done."""
        self._reconfigure(published)
        while self._stop < len(published.cut.steps):
            stop = published.cut.steps[self._stop]
            through = stop.impressions, stop.clicks
            idle = Idle(stop.idle)
            while (step := self._merge.take(through=through)) is not None:
                self._take(step, idle, published)
            if any(at.after < end for at, end in zip(self._merge.at, through, strict=True)):
                return False
            if idle:
                self._keep(self._joiner.advance_idle(idle), (), published)
            self._stop += 1
        return True

    def _take(self, step: MergedStep, idle: Idle, published: PublishedCut) -> None:
        impressions, clicks = step.impressions.num_rows, step.clicks.num_rows
        self._rows = self._rows[0] + impressions, self._rows[1] + clicks
        not_accepted, self._not_accepted = _split(self._not_accepted, impressions)
        not_early, self._not_early = _split(self._not_early, clicks)
        order = step.order.copy()
        order[np.flatnonzero(step.order == IMPRESSION)[not_accepted]] = NOT_ACCEPTED
        order[np.flatnonzero(step.order == CLICK)[not_early]] = NOT_EARLY
        clocks = step.impression_clock, step.click_clock
        order = with_idle_advances(order, idle)
        output = self._joiner.process(step.impressions, step.clicks, order, clocks)
        if not (
            np.array_equal(output.accepted, ~not_accepted)
            and np.array_equal(output.early, ~not_early)
        ):
            raise _changed(published.cut)
        self._keep(output, step.rejected, published)

    def _keep(
        self, output: JoinOutput, rejected: tuple[DeadLetter, ...], published: PublishedCut
    ) -> None:
        """Keep the output of a cut that was not published whole."""
        if not published.complete:
            self.labelled += output.labelled
            self.reports.append(Report(rejected, output.rejected, output.late))

    def _reconfigure(self, published: PublishedCut) -> None:
        """Go on by the settings and the rules of the writer of this cut."""
        metadata = published.cut.joiner
        join = JoinSettings.model_validate(metadata["join"])
        sampling = SamplingSettings.model_validate(metadata["sampling"])
        self._joiner.reconfigure(join, sampling, published.rules)
        self._merge.order = published.rules.order

    def _finish(self, cut: Cut) -> None:
        """End a cut: check it, and take its counts, which are of all rows that were ever read."""
        same = self._joiner.metadata()["marks"][:2] == cut.joiner["marks"][:2]
        if not same or cut.rows not in (None, self._rows):
            raise _changed(cut)
        self._joiner.set_counters(cut.joiner)
        self._stop, self._rows = 0, (0, 0)
        if self._remaining:
            self._not_accepted, self._not_early = _flags(self._remaining[0].cut)


_NONE: Bool = np.empty(0, np.bool_)


def _flags(cut: Cut) -> tuple[Bool, Bool]:
    """Flags of a cut, one a row: not accepted, not early. Up to 7 more may stand at their ends."""
    return _unpacked(cut.passed), _unpacked(cut.met)


def _split(flags: Bool, rows: int) -> tuple[Bool, Bool]:
    return flags[:rows], flags[rows:]


def _unpacked(bits: bytes) -> Bool:
    return np.unpackbits(np.frombuffer(bits, np.uint8)).view(np.bool_)


def _changed(cut: Cut) -> DataError:
    return DataError(
        f"the rows of the input topics up to {cut.end.impressions} and {cut.end.clicks} (offset, "
        "row) are not those that were joined before. Were records deleted, or the topics made "
        "anew? Start with a new labelled topic. Or does a field that was added to [features] have "
        "values of another type in them, so that rows are refused that were not? Take it out, and "
        "add it again when these rows are no longer known (window, then dedupe_horizon)."
    )
