"""The cut that is being made, and from which earlier cut a restart would begin."""

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


class _Held(NamedTuple):
    base: RecoveryPoint
    until: int
    spans: Spans


class Needed:
    """The complete cuts in the log, and the latest before which nothing is needed."""

    def __init__(self, base: RecoveryPoint) -> None:
        """base: what the last block said, or the beginning of the logs."""
        self._base = base
        self._held: deque[_Held] = deque()

    def add(self, offset: int, number: int, cut: Cut, rules: RuleNumbers) -> None:
        """A cut is complete in the log; offset, number: of its first block. rules: it names."""
        base = RecoveryPoint(offset, number, cut.end.impressions, cut.end.clicks)
        spans = spans_of(JoinSettings.model_validate(cut.joiner["join"]), rules)
        self._held.append(_Held(base, cut.retain_until, spans))

    def base(self, watermark: int, oldest_open: int, now: Spans) -> RecoveryPoint:
        """Where a restart would begin. watermark: the join's, ms. oldest_open: the least `ts` of an
        open impression. now: the spans in force.

        No impression up to there is open or known, nor one that a click waiting there may have met
        since.
        """
        while self._held and watermark > _known_until(self._held[0], now):
            if oldest_open <= _may_meet(self._held[0], now):
                break
            self._base = self._held.popleft().base
        return self._base


def _may_meet(held: _Held, now: Spans) -> int:
    """The greatest `ts` of an impression that what was read up to a cut is needed for."""
    return held.until + max(0, now.lateness - held.spans.lateness)


def _known_until(held: _Held, now: Spans) -> int:
    return _may_meet(held, now) + max(held.spans.known_span, now.known_span)


class OpenCut:
    """Steps taken since the last cut, and their examples."""

    def __init__(self, joiner: Joiner) -> None:
        """joiner: as it is when the cut begins."""
        self.watermark = joiner.watermarks.join
        self.oldest_open = joiner.oldest_open
        self.labelled: list[pa.RecordBatch] = []
        self.read = 0  # rows of both logs
        self._stops: list[Stop] = []
        self.is_in_step = False  # whether anything was done since the last stop
        self._passed: list[Bool] = []
        self._met: list[Bool] = []

    def add(self, step: MergedStep, output: JoinOutput) -> None:
        """A step and what came of it."""
        self.labelled += output.labelled
        self.read += len(step.order)
        self._passed.append(~output.accepted)
        self._met.append(~output.early)
        self.is_in_step = True

    def lifted(self, output: JoinOutput) -> None:
        """Logs are idle, and no longer hold the watermark back; output: what came of that."""
        self.labelled += output.labelled
        self.is_in_step = True

    def stop(self, merge: Merge, idle: Idle) -> None:
        """The step ends, if there is one. idle: of the logs, while it lasted: bits of `rules`."""
        if self.is_in_step:
            impressions, clicks = merge.at
            self._stops.append(Stop(impressions.after, clicks.after, int(idle)))
            self.is_in_step = False

    def close(self, joiner: Joiner, merge: Merge) -> Cut:
        """The cut at this point."""
        self.is_in_step |= not self._stops
        self.stop(merge, Idle(0))
        impressions, clicks = merge.at
        return Cut(
            steps=tuple(self._stops),
            passed=_packed(self._passed),
            met=_packed(self._met),
            newest=(impressions.newest, clicks.newest),
            retain_until=joiner.matters_until,
            oldest_open=joiner.undecided,
            joiner=joiner.plain(),
            rows=(sum(map(len, self._passed)), sum(map(len, self._met))),
        )


def _packed(flags: list[Bool]) -> bytes:
    return np.packbits(np.concatenate(flags)).tobytes() if flags else b""
