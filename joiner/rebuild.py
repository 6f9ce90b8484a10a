"""The joiner's state from the input logs: the rows since a cut, taken in the same steps again."""

from collections import deque

import numpy as np
import pyarrow as pa

from joiner.effects import Report
from joiner.joiner import Joiner
from joiner.outputs import JoinOutput
from joiner.restart import Written
from joiner.rules import MET, PASSED, with_lifts
from joiner.settings import JoinSettings, SamplingSettings
from streams.compute.arrays import Bool
from streams.deadletter import DeadLetter
from streams.errors import DataError
from streams.labelled_log import Cut
from streams.merge import CLICK, IMPRESSION, Merge, Step


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
        self._adopt(written.cut)
        while self._stop < len(written.cut.steps):
            stop = written.cut.steps[self._stop]
            through = stop.impressions, stop.clicks
            while (step := self._merge.take(through=through)) is not None:
                self._take(step, stop.idle, written)
            if any(at.after < end for at, end in zip(self._merge.at, through, strict=True)):
                return False
            if stop.idle:
                self._keep(self._joiner.lift(stop.idle), (), written)
            self._stop += 1
        return True

    def _take(self, step: Step, idle: int, written: Written) -> None:
        shown, clicked = step.impressions.num_rows, step.clicks.num_rows
        self._rows = self._rows[0] + shown, self._rows[1] + clicked
        passed, self._passed = self._passed[:shown], self._passed[shown:]
        met, self._met = self._met[:clicked], self._met[clicked:]
        order = step.order.copy()
        order[np.flatnonzero(order == IMPRESSION)[passed]] = PASSED
        order[np.flatnonzero(step.order == CLICK)[met]] = MET
        clocks = step.impression_clock, step.click_clock
        order = with_lifts(order, idle)
        output = self._joiner.process(step.impressions, step.clicks, order, clocks)
        same = np.array_equal(output.accepted, ~passed) and np.array_equal(output.waited, ~met)
        if not same:
            raise _changed(written.cut)
        self._keep(output, step.rejects, written)

    def _keep(self, output: JoinOutput, letters: tuple[DeadLetter, ...], written: Written) -> None:
        if not written.complete:
            self.labelled += output.labelled
            self.reports.append(Report(letters, output.rejected, output.late))

    def _adopt(self, cut: Cut) -> None:
        """A writer with other settings wrote this cut."""
        join = JoinSettings.model_validate(cut.joiner["join"])
        self._joiner.adopt(join, SamplingSettings.model_validate(cut.joiner["sampling"]))

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
