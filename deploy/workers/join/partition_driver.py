"""Drives one partition's state machine: messages come in, effects are carried out.

    chunks ──┐                        ┌── labelled blocks (in order, acknowledged)
    acks ────┼── inbox ── iteration ──┼── dead letters, late clicks (acknowledged before the block)
    time ────┘   (in a thread)        └── commits

An iteration takes all that has come, in a thread, so that the event loop stays free for Kafka's
heartbeats. There is one iteration at a time; between two of them its effects are carried out.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from joiner.protocol import (
    Beginnings,
    Commit,
    Effect,
    JoinPartition,
    Publish,
    ReadLabelled,
    Report,
    Seek,
)
from streams.events import CLICK, IMPRESSION, SOURCES
from streams.kafka import MessageChunk as Messages
from streams.kafka import concat_chunks
from streams.labelled_log import Entry, Header
from streams.record import RowChunk
from streams.rules import RuleNumbers


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """When a driver does what, in seconds.

    linger: how long it gathers what comes before an iteration. idle_timeout: a log that is read to
    its end and silent for so long does not hold the other back. keepalive: a cut is published at
    least so often. buffer_rows: how many rows of a log may be read ahead of the other one.
    """

    linger: float = 0.05
    idle_timeout: float = 10.0
    keepalive: float = 3600.0
    buffer_rows: int = 500_000


class Port(Protocol):
    """What a partition's driver needs of Kafka."""

    async def send(self, header: Header, value: bytes) -> asyncio.Future[int]:
        """Append to the labelled partition, after what was sent before: its offset to come."""

    async def report(self, report: Report) -> None:
        """Send the side outputs; returns when the broker has them."""

    async def entries(self, start: int, stop: int) -> list[Entry]:
        """The labelled partition's messages of these offsets."""

    async def beginnings(self) -> Beginnings:
        """The first offset each of the three logs has."""

    def commit(self, source: int, offset: int) -> None:
        """Nothing before this offset of an input log is needed."""

    def log_end(self, source: int) -> int | None:
        """The offset after the last record of an input log; None before it is known."""

    def hold(self, source: int, held: bool) -> None:
        """Fetch nothing from an input log for now, or again."""


Decode = Callable[[Messages, RuleNumbers], RowChunk]

_TICK = 0.2  # seconds; how often time alone may change something


class PartitionDriver:
    """The driver of one partition, from its claim to its end."""

    def __init__(
        self,
        machine: JoinPartition,
        port: Port,
        decode: tuple[Decode, Decode],
        executor: Executor,
        settings: DriverSettings,
    ) -> None:
        """decode: of the impressions' and the clicks' messages, by rules of such numbers."""
        self.machine = machine
        self._port = port
        self._decode = decode
        self._executor = executor
        self._settings = settings
        self._chunks: deque[tuple[int, Messages]] = deque()
        self._answers: deque[tuple[list[Entry], int]] = deque()
        self._sent: deque[asyncio.Future[int]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._awake = asyncio.Event()
        self._held = [False, False]
        self._position = [0, 0]
        now = time.monotonic()
        self._heard_at = [now, now]
        self._published_at = now
        self.processed = 0  # messages
        self.seconds = 0.0  # spent in iterations

    async def claim(self) -> tuple[int, int]:
        """Claim the partition and learn what was done: the offsets to read the inputs from."""
        effects = self.machine.start()
        while True:
            effect = effects[0]
            match effect:
                case Publish():
                    offset = await (await self._port.send(effect.header, effect.value))
                    effects = self.machine.claimed(offset, await self._port.beginnings())
                case ReadLabelled():
                    entries = await self._port.entries(effect.start, effect.stop)
                    effects = self.machine.labelled(entries, effect.start)
                case Seek():
                    self._position = [effect.impressions, effect.clicks]
                    return effect.impressions, effect.clicks
                case _:
                    raise AssertionError(effect)

    def take(self, source: int, messages: Messages) -> None:
        """The next messages of an input log."""
        self._chunks.append((source, messages))
        self._position[source] = messages.end
        if messages.messages:
            self._heard_at[source] = time.monotonic()
        self._awake.set()
        self._pause(source)

    @property
    def is_caught_up(self) -> bool:
        """Whether it has joined all that both logs hold."""
        return (
            self.machine.phase == "live"
            and not self._chunks
            and all(self._has_read_all(s) for s in SOURCES)
        )

    @property
    def lag(self) -> tuple[int, int]:
        """Messages of each log that were not read yet."""
        ends = [self._port.log_end(source) for source in SOURCES]
        impressions, clicks = (
            0 if end is None else max(0, end - at)
            for end, at in zip(ends, self._position, strict=True)
        )
        return impressions, clicks

    def _has_read_all(self, source: int) -> bool:
        end = self._port.log_end(source)
        return end is not None and self._position[source] >= end

    async def run(self) -> None:
        """Go on until cancelled. Raises FencedError, or whatever went wrong."""
        try:
            while True:
                await self._gather()
                await self._iterate()
        finally:
            for task in self._tasks:
                task.cancel()

    async def drain(self) -> None:
        """Return when all that was published is acknowledged, and its commits are made."""
        while self._sent:
            await asyncio.wait([self._sent[0]])
            self._perform_commits(self.machine.acknowledged(self._sent.popleft().result()))

    async def _gather(self) -> None:
        """Wait until something has come, and for what comes with it."""
        if not self._chunks:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), _TICK)
            await asyncio.sleep(self._settings.linger)
        self._awake.clear()

    async def _iterate(self) -> None:
        """Tell the machine all that has come, and do what it asks."""
        offsets = []
        while self._sent and self._sent[0].done():
            offsets.append(self._sent.popleft().result())
        chunks, self._chunks = list(self._chunks), deque()
        answers, self._answers = list(self._answers), deque()
        now = time.monotonic()
        flush = now - self._published_at >= self._settings.keepalive
        work = partial(self._step, offsets, answers, chunks, now, flush=flush)
        iteration = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            effects = await asyncio.shield(iteration)
        except asyncio.CancelledError:
            await asyncio.wait([iteration])  # the machine is one thread's at a time
            raise
        await self._perform(effects)
        for source in SOURCES:
            self._pause(source)

    def _step(
        self,
        offsets: Sequence[int],
        answers: Sequence[tuple[list[Entry], int]],
        chunks: Sequence[tuple[int, Messages]],
        now: float,
        *,
        flush: bool,
    ) -> list[Effect]:
        """The machine's part of an iteration, in a thread."""
        begun = time.perf_counter()
        machine = self.machine
        effects: list[Effect] = []
        for offset in offsets:
            effects += machine.acknowledged(offset)
        for entries, start in answers:
            effects += machine.labelled(entries, start)
        for source in SOURCES:
            # Together, for a chunk of a few messages takes as long to decode as one of hundreds.
            if received := [messages for origin, messages in chunks if origin == source]:
                messages = concat_chunks(received)
                machine.read(source, messages.end, partial(self._decode[source], messages))
                self.processed += len(messages.messages)
        silent = [now - heard for heard in self._heard_at]
        idle = tuple(
            silent[s] >= self._settings.idle_timeout and self._has_read_all(s) for s in SOURCES
        )
        even_if_open = silent[CLICK] * 1000 >= machine.join.breaker_wait
        more = machine.advance((idle[0], idle[1]), even_if_open=even_if_open, flush=flush)
        while more:
            effects += more
            more = (
                machine.advance((idle[0], idle[1]), even_if_open=even_if_open)
                if machine.is_behind
                else []
            )
        self.seconds += time.perf_counter() - begun
        return effects

    async def _perform(self, effects: list[Effect]) -> None:
        """Carry out effects in their order."""
        for effect in effects:
            match effect:
                case Report():
                    await self._port.report(effect)
                case Publish():
                    self._published_at = time.monotonic()
                    sent = await self._port.send(effect.header, effect.value)
                    sent.add_done_callback(lambda _: self._awake.set())
                    self._sent.append(sent)
                case ReadLabelled():
                    task = asyncio.create_task(self._answer(effect))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        self._perform_commits(effects)

    def _perform_commits(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Commit):
                self._port.commit(IMPRESSION, effect.impressions)
                self._port.commit(CLICK, effect.clicks)

    async def _answer(self, effect: ReadLabelled) -> None:
        self._answers.append((await self._port.entries(effect.start, effect.stop), effect.start))
        self._awake.set()

    def _pause(self, source: int) -> None:
        """Read no further ahead of the other log than memory allows."""
        rows = self.machine.merge.rows(source)
        limit = self._settings.buffer_rows
        held = rows > (limit // 2 if self._held[source] else limit)
        if held != self._held[source]:
            self._held[source] = held
            self._port.hold(source, held)
