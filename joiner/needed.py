"""From where a restart would have to read: which cuts are no longer needed."""

from collections import deque
from typing import NamedTuple

from joiner.settings import JoinSettings
from streams.labelled_log import Base, Cut


class _Held(NamedTuple):
    base: Base
    until: int
    settings: JoinSettings


class Needed:
    """The complete cuts in the log, and the latest before which nothing is needed."""

    def __init__(self, base: Base) -> None:
        """base: what the last block said, or the beginning of the logs."""
        self._base = base
        self._held: deque[_Held] = deque()

    def add(self, offset: int, number: int, cut: Cut) -> None:
        """A cut is complete in the log; offset, number: of its first block."""
        base = Base(offset, number, cut.end.impressions, cut.end.clicks)
        settings = JoinSettings.model_validate(cut.joiner["join"])
        self._held.append(_Held(base, cut.until, settings))

    def base(self, watermark: int, oldest_open: int, now: JoinSettings) -> Base:
        """Where a restart would begin. watermark: the join's, ms. oldest_open: the least `ts` of an
        open impression. now: the settings in force.

        No impression up to there is open or known, nor one that a click waiting there may have met
        since.
        """
        while self._held and watermark > _known_until(self._held[0], now):
            if oldest_open <= _may_meet(self._held[0], now):
                break
            self._base = self._held.popleft().base
        return self._base


def _may_meet(held: _Held, now: JoinSettings) -> int:
    """The greatest `ts` of an impression that what was read up to a cut is needed for."""
    return held.until + max(0, now.lateness - held.settings.lateness)


def _known_until(held: _Held, now: JoinSettings) -> int:
    return _may_meet(held, now) + max(held.settings.known_span, now.known_span)
