"""One partition's joiner as a state machine: messages in, effects out. No clock, no I/O.

    claim ── search ── history ── recovery ── live

The log is the state: whatever the joiner remembers follows from the rows of the two input logs
and the cuts in the headers of the labelled blocks. So a crash at any moment loses nothing, and
nothing is emitted twice. What happens in each phase stands in `phases`.

A driver carries out the effects in their order, reports each acknowledgement, answers each read,
and lets go of the machine at its first exception.
"""

from collections.abc import Callable

from joiner.core.joiner import Joiner
from joiner.protocol.config import Beginnings, PartitionConfig
from joiner.protocol.effects import Effect
from joiner.protocol.phases import (
    ClaimPhase,
    HistoryPhase,
    LivePhase,
    Phase,
    PhaseName,
    RecoveryPhase,
    SearchPhase,
)
from joiner.settings import JoinSettings
from streams.labelled_log import Entry
from streams.merge import Merge
from streams.record import RowChunk
from streams.rules import RuleNumbers


class JoinPartition:
    """The joiner of one partition, from the claim on."""

    def __init__(self, config: PartitionConfig, writer: str) -> None:
        """writer: a random name that nobody else has."""
        self._phase: Phase = ClaimPhase(config, writer)

    @property
    def phase(self) -> PhaseName:
        """The name of the phase."""
        return self._phase.name

    @property
    def is_behind(self) -> bool:
        """Whether `advance` has more to do with what was read."""
        return isinstance(self._phase, LivePhase) and self._phase.is_behind

    @property
    def in_flight(self) -> int:
        """Blocks published and not acknowledged."""
        phase = self._phase
        return phase.writer.in_flight if isinstance(phase, RecoveryPhase | LivePhase) else 0

    @property
    def join(self) -> JoinSettings:
        """The settings in force; from the recovery on with the defaults the log began with."""
        return self._phase.config.join

    @property
    def joiner(self) -> Joiner:
        """The join itself, to look at. Only from the recovery on."""
        return self._with_inputs.joiner

    @property
    def merge(self) -> Merge:
        """What was read and not joined yet, to look at. Only from the recovery on."""
        return self._with_inputs.inputs.merge

    @property
    def _with_inputs(self) -> RecoveryPhase | LivePhase:
        assert isinstance(self._phase, RecoveryPhase | LivePhase), self.phase
        return self._phase

    def start(self) -> list[Effect]:
        """Claim the partition."""
        assert isinstance(self._phase, ClaimPhase), self.phase
        return self._phase.start()

    def claimed(self, offset: int, beginnings: Beginnings) -> list[Effect]:
        """The claim is in the log, at `offset`."""
        assert isinstance(self._phase, ClaimPhase), self.phase
        self._phase, effects = self._phase.claimed(offset, beginnings)
        return effects

    def labelled(self, entries: list[Entry], start: int) -> list[Effect]:
        """The answer to a ReadLabelled: the messages there are; start: as it asked.

        Raises FencedError if another writer has claimed the partition; DataError if messages that
        a restart needs are gone, or messages that could be another's claim.
        """
        assert isinstance(self._phase, SearchPhase | HistoryPhase | LivePhase), self.phase
        self._phase, effects = self._phase.labelled(entries, start)
        return effects

    def read(self, source: int, end: int, decode: Callable[[RuleNumbers], RowChunk]) -> None:
        """The next messages of an input log (IMPRESSION or CLICK), up to before offset `end`.

        decode: gives the rows of these messages, judged by the rules of such numbers. Up to the
        last cut rows are judged by the rules that their cuts name, after it by today's; messages
        in which both hold are decoded by both. Rows that are known are ignored.
        """
        self._with_inputs.inputs.read(source, end, decode)

    def advance(
        self,
        idle: tuple[bool, bool] = (False, False),
        *,
        even_if_open: bool = False,
        flush: bool = False,
    ) -> list[Effect]:
        """Join what was read, and publish what follows.

        idle: of each log, whether it is read to its end and has been silent for long: its watermark
        then advances to the other's, unless the breaker is open. even_if_open: whether it advances
        all the same, as the clicks have been silent longer than the breaker waits. flush: publish
        a cut even if nothing was labelled.

        Raises DataError when rows read again are not those that were joined before, or one row
        is too large for a message.
        """
        effects: list[Effect] = []
        if isinstance(self._phase, RecoveryPhase):
            recovered = self._phase.advance()
            if recovered is None:
                return []
            self._phase, effects = recovered
        if isinstance(self._phase, LivePhase):
            effects += self._phase.advance(idle, even_if_open=even_if_open, flush=flush)
        return effects

    def acknowledged(self, offset: int) -> list[Effect]:
        """The oldest block in flight is in the log, at `offset`."""
        assert isinstance(self._phase, LivePhase), self.phase
        return self._phase.acknowledged(offset)
