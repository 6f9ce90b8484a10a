"""The cut that is being made: what was read and labelled since the last one."""

import numpy as np
import pyarrow as pa

from joiner.joiner import Joiner
from joiner.outputs import JoinOutput
from streams.compute.arrays import Bool
from streams.labelled_log import Cut, Stop
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
        self.is_in_step = False  # whether anything was done since the last stop
        self._passed: list[Bool] = []
        self._met: list[Bool] = []

    def add(self, step: Step, output: JoinOutput) -> None:
        """A step and what came of it."""
        self.labelled += output.labelled
        self.read += len(step.order)
        self._passed.append(~output.accepted)
        self._met.append(~output.waited)
        self.is_in_step = True

    def lifted(self, output: JoinOutput) -> None:
        """Logs are idle, and no longer hold the watermark back; output: what came of that."""
        self.labelled += output.labelled
        self.is_in_step = True

    def stop(self, merge: Merge, idle: int) -> None:
        """The step ends, if there is one. idle: of the logs, while it lasted: bits of `rules`."""
        if self.is_in_step:
            impressions, clicks = merge.at
            self._stops.append(Stop(impressions.after, clicks.after, idle))
            self.is_in_step = False

    def close(self, joiner: Joiner, merge: Merge) -> Cut:
        """The cut at this point."""
        self.is_in_step |= not self._stops
        self.stop(merge, 0)
        impressions, clicks = merge.at
        return Cut(
            steps=tuple(self._stops),
            passed=_packed(self._passed),
            met=_packed(self._met),
            newest=(impressions.newest, clicks.newest),
            until=joiner.matters_until,
            undecided=joiner.undecided,
            joiner=joiner.plain(),
            rows=(sum(map(len, self._passed)), sum(map(len, self._met))),
        )


def _packed(flags: list[Bool]) -> bytes:
    return np.packbits(np.concatenate(flags)).tobytes() if flags else b""
