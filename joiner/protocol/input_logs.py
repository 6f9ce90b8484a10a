"""The two input logs of a partition as they are read: known rows left out, the others merged."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from joiner.protocol.config import PartitionConfig
from streams.events import CLICK, SOURCES
from streams.labelled_log import Cut, RecoveryPoint
from streams.merge import Merge
from streams.position import ReadCursor, RowPosition, rows_through
from streams.record import RecordType, RowChunk
from streams.rules import RuleNumbers


class Era(NamedTuple):
    """The rules of the rows of an input log that come after the era before, up to a position."""

    through: RowPosition
    rules: RuleNumbers


def eras_of(cuts: list[tuple[Cut, RuleNumbers]], source: int, today: RuleNumbers) -> deque[Era]:
    """The eras of the rows of an input log that are in `cuts`, each with the rules it names.

    Cuts that follow one another and name the same rules are one era. Eras of today's rules at the
    end are left out: after the last era today's rules hold.
    """
    eras: deque[Era] = deque()
    for cut, rules in cuts:
        end = cut.end.clicks if source == CLICK else cut.end.impressions
        if eras and eras[-1].rules == rules:
            eras.pop()
        eras.append(Era(end, rules))
    if eras and eras[-1].rules == today:
        eras.pop()
    return eras


class InputLogs:
    """Both input logs from a recovery point on; `merge` holds what was read and not joined yet."""

    def __init__(
        self,
        config: PartitionConfig,
        start: RecoveryPoint,
        newest: tuple[int | None, int | None],
        cuts: list[tuple[Cut, RuleNumbers]],
    ) -> None:
        """newest: the greatest time of each log up to `start`. cuts: published after `start`."""
        self._today = config.rules
        self._eras = [eras_of(cuts, source, config.rules) for source in SOURCES]
        self.merge = Merge(
            (RecordType("impressions", config.schema), RecordType("clicks", config.schema)),
            (ReadCursor(start.impressions, newest[0]), ReadCursor(start.clicks, newest[1])),
        )

    def read(self, source: int, end: int, decode: Callable[[RuleNumbers], RowChunk]) -> None:
        """Take the messages up to before offset `end`, see `JoinPartition.read`."""
        eras = self._eras[source]
        while eras:
            through, rules = eras[0]
            self._push(source, decode(rules), through)
            if end <= through[0]:
                return
            eras.popleft()
        self._push(source, decode(self._today))

    def _push(self, source: int, chunk: RowChunk, through: RowPosition | None = None) -> None:
        """Take the rows of a chunk that are not known, up to and with the position `through`."""
        last = self.merge.read_to(source)
        known, stop = rows_through(chunk.rows, last), chunk.rows.num_rows
        rejected = [letter for letter in chunk.rejected if letter.position > last]
        if through is not None:
            stop = max(known, rows_through(chunk.rows, through))
            rejected = [letter for letter in rejected if letter.position <= through]
        clock = None if chunk.clock is None else chunk.clock[known:stop]
        rows = chunk.rows.slice(known, stop - known)
        self.merge.push(source, RowChunk(rows, tuple(rejected), clock))
