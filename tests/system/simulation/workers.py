"""Workers that drive the real state machines over the logs in memory."""

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ftrl.labelled_reader import DeduplicatingReader
from joiner.protocol.block_writer import FencedError
from joiner.protocol.config import Beginnings, PartitionConfig
from joiner.protocol.effects import Commit, Effect, Publish, ReadLabelled, Report, Seek
from joiner.protocol.partition import JoinPartition
from streams.arrow_ipc import decode
from streams.errors import DataError
from tests.system.simulation.world import SOURCES, Message, World, message


@dataclass
class JoinWorker:
    """One owner, or would-be owner, of the partition.

    wire: published and not in the log yet. landed: offsets whose acknowledgement is under way.
    """

    world: World
    setup: PartitionConfig
    name: str
    wire: deque[Message] = field(default_factory=deque)
    landed: deque[int] = field(default_factory=deque)
    asked: deque[ReadLabelled] = field(default_factory=deque)
    at: list[int] | None = None
    alive: bool = True
    claim: int | None = None

    def __post_init__(self) -> None:
        """It begins with its claim."""
        self.machine = JoinPartition(self.setup, self.name)
        self._perform(self.machine.start())

    def land(self) -> None:
        """The oldest message on the wire reaches the log."""
        self.world.labelled.append(self.wire.popleft())
        self.landed.append(len(self.world.labelled) - 1)

    def acknowledge(self) -> None:
        """The oldest acknowledgement arrives."""
        offset = self.landed.popleft()
        if self.claim is None:
            self.claim = offset
            shown, clicked = (log.first for log in self.world.inputs)
            begin = Beginnings(shown, clicked, self.world.labelled_first)
            self._do(lambda: self.machine.claimed(offset, begin))
        else:
            self._do(lambda: self.machine.acknowledged(offset))

    def answer(self) -> None:
        """The oldest question about the labelled log is answered."""
        asked = self.asked.popleft()
        entries = self.world.read_labelled(asked.start, asked.stop)
        self._do(lambda: self.machine.labelled(entries, asked.start))

    def read(self, source: int, count: int) -> None:
        """The next messages of an input log arrive."""
        log = self.world.inputs[source]
        if self.at is None or self.at[source] >= log.end:
            return
        stop = min(self.at[source] + count, log.end)
        self.machine.read(source, stop, partial(log.chunk, self.at[source], stop))
        self.at[source] = stop

    def advance(self, idle: tuple[bool, bool], *, flush: bool) -> bool:
        """Join what there is; whether anything came of it."""
        if self.at is None:
            return False
        idle = tuple(  # type: ignore[assignment] # two of them
            one and at >= log.end
            for one, at, log in zip(idle, self.at, self.world.inputs, strict=True)
        )
        even_if_open = self.world.random.random() < 0.1
        return self._do(lambda: self.machine.advance(idle, even_if_open=even_if_open, flush=flush))

    def crash(self, lost: bool) -> None:
        """It is gone; what it has sent may still arrive, or not."""
        self.alive = False
        if lost:
            self.wire.clear()

    def _do(self, call: Any) -> bool:
        try:
            effects: list[Effect] = call()
        except FencedError:
            self.world.count("superseded")
            self.alive = False
            return False
        except DataError:
            # Retention took what only the present owner must have.
            if self.claim is None or self.claim == self.world.last_claim():
                raise
            self.alive = False
            return False
        self._perform(effects)
        return bool(effects)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Publish():
                    self.wire.append(message(effect.header, effect.value))
                case ReadLabelled():
                    self.asked.append(effect)
                case Seek():
                    self.at = [effect.impressions, effect.clicks]
                case Commit():
                    both = zip(
                        self.world.committed, (effect.impressions, effect.clicks), strict=True
                    )
                    self.world.committed = [max(a, b) for a, b in both]
                case Report():
                    self._report(effect)

    def _report(self, report: Report) -> None:
        world = self.world
        world.reported |= {(one.source, one.position, one.reason) for one in report.dead_letters}
        for row in report.rejected.to_pylist():
            place = row["src_offset"], row["src_row"]
            world.reported.add((row["source"], place, row["reason"]))
        for row in report.late.to_pylist():
            world.late.add(((row["src_offset"], row["src_row"]), row["impression_ts"]))


class Learner:
    """Takes the labelled log, saves, and may be killed."""

    def __init__(self, world: World) -> None:
        """It has learned nothing."""
        self._world = world
        self._saved: tuple[dict[str, Any] | None, int] = (None, 0)
        self.trained: list[dict[str, Any]] = []
        self._reader = DeduplicatingReader(1)

    def read(self) -> bool:
        """Take the next message, if there is one."""
        at = max(self._reader.next_offset(0) or 0, self._world.labelled_first)
        if at >= len(self._world.labelled):
            return False
        one = self._world.labelled[at]
        for batch in self._reader.take(0, one.entry(at), one.value):
            self.trained += batch.to_pylist()
        return True

    @property
    def saved_to(self) -> int:
        """The offset a killed learner would go on from."""
        state = self._saved[0]
        following = None if state is None else state["read"][0][0]
        return following or 0

    def save(self) -> None:
        """Weights and how far it is, in one write."""
        self._saved = self._reader.state(), len(self.trained)

    def kill(self) -> None:
        """It comes back as it was saved."""
        state, trained = self._saved
        self._reader = DeduplicatingReader(1, state)
        del self.trained[trained:]


def rows_of(value: bytes) -> list[dict[str, Any]]:
    """The examples of a block."""
    return [row for batch in decode(value, "block") for row in batch.to_pylist()] if value else []


__all__ = ["SOURCES", "JoinWorker", "Learner", "rows_of"]
