"""The cut that is being made: what was read and labelled since the last one."""

import numpy as np
import pyarrow as pa

from joiner.joiner import Joiner
from joiner.outputs import JoinOutput
from streams.blocks import Cut, Stop
from streams.jit import Bool
from streams.merge import Merge, Step


class OpenCut:
    """Steps taken since the last cut, and their examples."""

    def __init__(self, joiner: Joiner) -> None:
        """joiner: as it is when the cut begins."""
        self.watermark = joiner.watermarks.join
        self.oldest_open = joiner.oldest_open
        self.labelled: list[pa.RecordBatch] = []
        self.read = 0  # rows of both logs
        self._stops: list[Stop] = []
        self.is_in_step = False  # whether rows were taken since the last stop
        self._passed: list[Bool] = []
        self._met: list[Bool] = []

    def add(self, step: Step, output: JoinOutput) -> None:
        """A step and what came of it."""
        self.labelled += output.labelled
        self.read += len(step.order)
        self._passed.append(~output.accepted)
        self._met.append(~output.waited)
        self.is_in_step = True

    def idle(self, merge: Merge, logs: int, output: JoinOutput) -> None:
        """Here logs were idle (1 the impressions, 2 the clicks); output: of lifting them."""
        self.labelled += output.labelled
        self._stop(merge, logs)

    def close(self, joiner: Joiner, merge: Merge) -> Cut:
        """The cut at this point."""
        if self.is_in_step or not self._stops:
            self._stop(merge, 0)
        impressions, clicks = merge.at
        return Cut(
            steps=tuple(self._stops),
            passed=_packed(self._passed),
            met=_packed(self._met),
            newest=(impressions.newest, clicks.newest),
            until=joiner.matters_until,
            undecided=joiner.undecided,
            joiner=joiner.plain(),
        )

    def _stop(self, merge: Merge, idle: int) -> None:
        impressions, clicks = merge.at
        self._stops.append(Stop(impressions.after, clicks.after, idle))
        self.is_in_step = False


def _packed(flags: list[Bool]) -> bytes:
    return np.packbits(np.concatenate(flags)).tobytes() if flags else b""
