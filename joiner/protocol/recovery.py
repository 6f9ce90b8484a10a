"""How a new owner of a partition finds what the joiner before it had come to, and goes on as it.

The new owner has claimed the partition. It looks for the last block that counts before its claim
and reads the blocks from that block's recovery point on, so that it knows every cut since. Then
the joiner takes the rows of the input logs in just the same steps again.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

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
from streams.position import RowPosition
from streams.rules import RuleNumbers

FIRST_LOOK = 64  # messages; twice as many each time


@dataclass(frozen=True, slots=True)
class Written:
    """A cut as the labelled topic has it.

    rules: that it was made by. offset, number: of its first block there. rows: how many examples
    were published. complete: whether those are all.
    """

    cut: Cut
    rules: RuleNumbers
    offset: int
    number: int
    rows: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Last:
    """The last block that counts, and its offset; None: there is none yet."""

    offset: int = -1
    block: Block | None = None


def last_block(entries: list[Entry], start: int, beginning: int) -> Last | None:
    """The last block that counts among the messages of the offsets from `start` on.

    beginning: the first offset the topic still has. None: more must be read, from before
    `start`. A block counts if nobody claimed the partition between `seen`, up to where its writer
    knew that nobody had, and its own offset. A claim that retention has deleted is known by the
    blocks of who made it.
    """
    claims = {entry.offset for entry in entries if isinstance(entry.header, Claim)}
    claims |= {entry.header.claim for entry in entries if isinstance(entry.header, Block)}
    for entry in reversed(entries):
        block = entry.header
        if isinstance(block, Block):
            if block.seen + 1 < start and start > beginning:
                return None
            if not any(block.seen < claim < entry.offset for claim in claims):
                return Last(entry.offset, block)
    return Last() if start <= beginning else None


class Era(NamedTuple):
    """The rows of an input log through a place, from the era before on, and their rules."""

    through: RowPosition
    rules: RuleNumbers


def eras_of(written: list[Written], source: int, today: RuleNumbers) -> deque[Era]:
    """By which rules the rows of an input log were read that are in cuts; after them: by today's.

    Cuts that follow one another and name the same rules are one era; eras of today's rules at the
    end are left out.
    """
    eras: deque[Era] = deque()
    for one in written:
        end = one.cut.end.clicks if source == CLICK else one.cut.end.impressions
        if eras and eras[-1].rules == one.rules:
            eras.pop()
        eras.append(Era(end, one.rules))
    if eras and eras[-1].rules == today:
        eras.pop()
    return eras


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
    base: RecoveryPoint, last: Block, entries: list[Entry], today: RuleNumbers
) -> tuple[Cut | None, list[Written]]:
    """The cut of the base (None: nothing was read then), and the cuts written after it.

    entries: the messages from the base's offset to the last block that counts, `last`. today: the
    newest rules that this program knows. Raises DataError if some of the messages are gone, or a
    cut was made by a newer rule.
    """
    if not entries or entries[0].offset != base.offset:
        first = entries[0].offset if entries else "none"
        raise DataError(
            f"the labelled topic: a restart needs its messages from offset {base.offset} on, the "
            f"first there is {first}. Its retention must be longer than impressions stay known."
        )
    fencing = FencingFilter()
    blocks = [(e.offset, block) for e in entries if (block := fencing.take(e)) is not None]
    at_base: Cut | None = None
    if base.number:
        at_base = blocks.pop(0)[1].cut
        while blocks and blocks[0][1].cut is None:
            del blocks[0]
    written: list[Written] = []
    for offset, block in blocks:
        if block.cut is not None:
            cut, rules = block.cut, rules_named(block.cut, today)
            written.append(Written(cut, rules, offset, block.number, block.rows, block.complete))
        else:
            one = written.pop()
            rows = one.rows + block.rows
            written.append(replace(one, rows=rows, complete=block.complete))
        if block.number == last.number:
            break
    return at_base, written


class Rebuild:
    """Brings a joiner through cuts that were written before, as their rows are read again.

    Nothing is published or counted; only of a last cut that was not published whole are the
    examples (`labelled`) and the reports kept.
    """

    def __init__(self, joiner: Joiner, merge: Merge, written: list[Written]) -> None:
        """joiner, merge: at the cut before the first of `written`."""
        self._joiner = joiner
        self._merge = merge
        self._left = deque(written)
        self._stop = 0  # steps of the first cut left that are done
        self._rows = (0, 0)  # of them, of each log
        self._passed, self._met = _flags(written[0].cut) if written else (_NONE, _NONE)
        self.labelled: list[pa.RecordBatch] = []
        self.reports: list[Report] = []

    def advance(self) -> bool:
        """Take what was read; true when all is done.

        Raises DataError if the rows are not those that were read before.
        """
        while self._left:
            if not self._steps(self._left[0]):
                return False
            last = self._left.popleft().cut
            self._finish(last)
            if not self._left and self._joiner.open_impressions != last.joiner["open"]:
                raise _changed(last)
        return True

    def _steps(self, written: Written) -> bool:
        """Whether all steps of a cut are done."""
        self._adopt(written)
        while self._stop < len(written.cut.steps):
            stop = written.cut.steps[self._stop]
            through = stop.impressions, stop.clicks
            while (step := self._merge.take(through=through)) is not None:
                self._take(step, Idle(stop.idle), written)
            if any(at.after < end for at, end in zip(self._merge.at, through, strict=True)):
                return False
            if stop.idle:
                self._keep(self._joiner.lift(Idle(stop.idle)), (), written)
            self._stop += 1
        return True

    def _take(self, step: MergedStep, idle: Idle, written: Written) -> None:
        shown, clicked = step.impressions.num_rows, step.clicks.num_rows
        self._rows = self._rows[0] + shown, self._rows[1] + clicked
        passed, self._passed = self._passed[:shown], self._passed[shown:]
        met, self._met = self._met[:clicked], self._met[clicked:]
        order = step.order.copy()
        order[np.flatnonzero(order == IMPRESSION)[passed]] = NOT_ACCEPTED
        order[np.flatnonzero(step.order == CLICK)[met]] = NOT_EARLY
        clocks = step.impression_clock, step.click_clock
        order = with_idle_advances(order, idle)
        output = self._joiner.process(step.impressions, step.clicks, order, clocks)
        same = np.array_equal(output.accepted, ~passed) and np.array_equal(output.early, ~met)
        if not same:
            raise _changed(written.cut)
        self._keep(output, step.rejected, written)

    def _keep(self, output: JoinOutput, letters: tuple[DeadLetter, ...], written: Written) -> None:
        if not written.complete:
            self.labelled += output.labelled
            self.reports.append(Report(letters, output.rejected, output.late))

    def _adopt(self, written: Written) -> None:
        """A writer with other settings, or of another version, wrote this cut."""
        plain = written.cut.joiner
        join = JoinSettings.model_validate(plain["join"])
        sampling = SamplingSettings.model_validate(plain["sampling"])
        self._joiner.adopt(join, sampling, written.rules)
        self._merge.order = written.rules.order

    def _finish(self, cut: Cut) -> None:
        """The end of a cut: the counts are those of all that was ever read."""
        same = self._joiner.plain()["marks"][:2] == cut.joiner["marks"][:2]
        if not same or cut.rows not in (None, self._rows):
            raise _changed(cut)
        self._joiner.recount(cut.joiner)
        self._stop, self._rows = 0, (0, 0)
        if self._left:
            self._passed, self._met = _flags(self._left[0].cut)


_NONE: Bool = np.empty(0, np.bool_)


def _flags(cut: Cut) -> tuple[Bool, Bool]:
    """passed and met of a cut, a flag a row; there may be up to 7 more at their ends."""
    return _unpacked(cut.passed), _unpacked(cut.met)


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
