"""The cut that is being built, and the recovery point: the cut from which a restart would begin."""

from collections import deque
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from joiner.core.joiner import Joiner
from joiner.core.kernel_types import Idle, Spans, spans_of
from joiner.core.outputs import JoinOutput
from joiner.settings import JoinSettings
from streams.compute.arrays import Bool
from streams.labelled_log import Cut, RecoveryPoint, Stop
from streams.merge import Merge, MergedStep
from streams.rules import RuleNumbers


class _Retained(NamedTuple):
    """A cut in the log, and until when rows up to it may matter (see `Cut.retain_until`)."""

    point: RecoveryPoint
    retain_until: int
    spans: Spans

    def needs_until(self, now: Spans) -> int:
        """The newest `ts`, ms, of an impression for which rows up to the cut may matter."""
        return self.retain_until + max(0, now.lateness - self.spans.lateness)

    def known_until(self, now: Spans) -> int:
        """The watermark, ms, after which no such impression is known any more."""
        return self.needs_until(now) + max(self.spans.known_span, now.known_span)


class RecoveryPoints:
    """The complete cuts in the log that a restart may still need, in order."""

    def __init__(self, start: RecoveryPoint) -> None:
        """start: the recovery point of the last block, or the beginning of the logs."""
        self._latest = start
        self._retained: deque[_Retained] = deque()

    def add(self, offset: int, number: int, cut: Cut, rules: RuleNumbers) -> None:
        """A cut is complete in the log. offset, number: of its first block. rules: it names."""
        point = RecoveryPoint(offset, number, cut.end.impressions, cut.end.clicks)
        spans = spans_of(JoinSettings.model_validate(cut.joiner["join"]), rules)
        self._retained.append(_Retained(point, cut.retain_until, spans))

    def latest(self, watermark: int, oldest_open: int, now: Spans) -> RecoveryPoint:
        """The latest cut such that a restart needs no row up to it.

        watermark: the join's, ms. oldest_open: the least `ts` of an open impression. now: the
        spans in force. No impression up to the cut is open or known any more, and none that a
        click has met which was waiting at the cut.
        """
        while self._retained and watermark > self._retained[0].known_until(now):
            if oldest_open <= self._retained[0].needs_until(now):
                break
            self._latest = self._retained.popleft().point
        return self._latest


class CutBuilder:
    """Gathers what was joined since the last cut: the next cut, and its examples."""

    def __init__(self, joiner: Joiner) -> None:
        """joiner: as it is when the cut begins."""
        self.watermark = joiner.watermarks.join
        self.oldest_open = joiner.oldest_open
        self.labelled: list[pa.RecordBatch] = []
        self.read = 0  # rows of both logs
        self._stops: list[Stop] = []
        self._is_in_step = False  # whether anything was done since the last stop
        self._not_accepted: list[Bool] = []
        self._not_early: list[Bool] = []

    def add(self, step: MergedStep, output: JoinOutput) -> None:
        """Add a step of merged rows and its output."""
        self.labelled += output.labelled
        self.read += len(step.order)
        self._not_accepted.append(~output.accepted)
        self._not_early.append(~output.early)
        self._is_in_step = True

    def add_idle_advance(self, output: JoinOutput) -> None:
        """Add the output of an advance of the watermarks of idle sources."""
        self.labelled += output.labelled
        self._is_in_step = True

    def stop(self, merge: Merge, idle: Idle) -> None:
        """End the step, if anything was done in it. idle: the sources that were idle meanwhile."""
        if self._is_in_step:
            impressions, clicks = merge.at
            self._stops.append(Stop(impressions.after, clicks.after, int(idle)))
            self._is_in_step = False

    def close(self, joiner: Joiner, merge: Merge) -> Cut:
        """The cut at the rows joined so far."""
        self._is_in_step |= not self._stops
        self.stop(merge, Idle(0))
        impressions, clicks = merge.at
        return Cut(
            steps=tuple(self._stops),
            passed=_packed(self._not_accepted),
            met=_packed(self._not_early),
            newest=(impressions.newest, clicks.newest),
            retain_until=joiner.retain_until,
            oldest_open=joiner.first_open,
            joiner=joiner.metadata(),
            rows=(sum(map(len, self._not_accepted)), sum(map(len, self._not_early))),
        )


def _packed(flags: list[Bool]) -> bytes:
    return np.packbits(np.concatenate(flags)).tobytes() if flags else b""
