"""The learn worker: the partitions that Faust gives it, and the one trainer it runs with all of
them.

It trains only while it owns all partitions of the topic, and has the store open only then. Where
it reads on is what the store says; the offsets it commits to the group are for lag monitors.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from deploy.settings import Settings
from deploy.storage.rocksdb import StoreHeldError
from deploy.workers.learn.metrics import LearnMetrics
from deploy.workers.learn.online_trainer import POISON, OnlineTrainer
from deploy.workers.watchdog import Probe
from ftrl import learn_from
from streams.errors import ClickloopError, DataError
from streams.kafka import MessageChunk, Partition
from streams.kafka.consume import App, entry_of, message_location

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S = 0.5  # how often it tries to open a store that another process has


class LearnWorker:
    """Learns from the topic while it owns all its partitions."""

    def __init__(self, settings: Settings, topic: str, store: Path, source: Path | None) -> None:
        """topic: the labelled one. store, source: as `OnlineTrainer` says."""
        self._settings = settings
        self._topic = topic
        self._store = store
        self._source = source
        self.failure: ClickloopError | None = None
        self._trainer: OnlineTrainer | None = None
        self._leaving = False
        self._epoch = -1
        self._waiting: str | None = "no answer from Kafka yet"
        self._read: dict[int, int] = {}  # the offset after the last message taken, by partition
        self._behind = True
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clickloop-learn")
        self.metrics = LearnMetrics(self.lag, lambda: self._trainer is not None)
        self._app: App | None = None

    def attach(self, app: App) -> None:
        """Read the labelled topic of `app`."""
        self._app = app
        learn_from(app, self._topic, self._take)

    # -- what it tells those who watch it

    def probe(self) -> Probe:
        """Its work, for the watchdog."""
        return Probe(
            f"there are messages to read in topic {self._topic}, and none was learned from",
            lambda: sum(self.lag().values()),
            lambda: self.metrics.messages,
        )

    def lag(self) -> dict[int, int]:
        """Messages to read, by partition; none while it does not train."""
        if self._trainer is None:
            return {}
        ends = {n: self._attached.edge.log_end(Partition(self._topic, n)) for n in list(self._read)}
        return {n: max(end - self._read[n], 0) for n, end in ends.items() if end is not None}

    def not_ready(self) -> str | None:
        """Why it does not do its work; None: it does."""
        if self.failure is not None:
            return str(self.failure)
        if self._waiting is not None:
            return self._waiting
        lag = self.lag()
        left = sum(lag.values())
        if self._behind and (left or len(lag) < len(self._read)):
            return f"catching up: {left} messages to go"
        self._behind = False
        return None

    # -- its side of every assignment of partitions

    async def on_assigned(
        self, partitions: frozenset[Partition], epoch: int
    ) -> Mapping[Partition, int]:
        """With all partitions: open the store, and read on where it says. Else wait."""
        assigned = {number for topic, number in partitions if topic == self._topic}
        count = self._attached.edge.partition_count(self._topic)
        try:
            if count and len(assigned) == count and self.failure is None:
                return await self._begin(count, epoch)
        except ClickloopError as error:
            self._fail(error)
        self._attached.edge.hold(partitions)
        self._wait(
            f"the topic {self._topic} is not there; create it"
            if not count
            else f"another learner of the group has {count - len(assigned)} of the {count} "
            f"partitions of topic {self._topic}; this one trains when it has all of them"
        )
        return {}

    async def on_revoked(self, partitions: frozenset[Partition], epoch: int) -> None:  # noqa: ARG002 the protocol's
        """Save, and let go of the store."""
        self._leaving = True
        self._wait("the partitions are being handed out")
        try:
            done = await self._in_thread(self._close)
        except ClickloopError as error:
            self._fail(error)
        else:
            self._commit(done, epoch)

    async def _begin(self, count: int, epoch: int) -> Mapping[Partition, int]:
        self._leaving = False
        self._epoch = epoch
        self._behind = True
        while True:
            try:
                starts = await self._in_thread(lambda: self._open(count))
                break
            except StoreHeldError as error:
                self._wait(f"{error} (trying again)")
                await asyncio.sleep(RETRY_S)
        self._waiting = None
        log.info("training: all %d partitions of topic %s", count, self._topic)
        return {Partition(self._topic, number): offset for number, offset in starts.items()}

    def _wait(self, reason: str) -> None:
        if reason != self._waiting:
            log.warning("waiting: %s", reason)
        self._waiting = reason

    # -- what comes from the agent, and with time

    async def _take(self, chunk: MessageChunk) -> None:
        if self.failure is None:
            await self._guarded(lambda: self._learn(chunk), chunk.epoch)

    async def tick(self) -> None:
        """Save if a save is due, and commit what a save has taken in; called again and again."""
        epoch = self._epoch
        if self._trainer is not None and self.failure is None:
            await self._guarded(self._save_if_due, epoch)

    async def _guarded(self, work: Callable[[], Mapping[int, int]], epoch: int) -> None:
        try:
            done = await self._in_thread(work)
        except ClickloopError as error:
            self._fail(error)
        else:
            self._commit(done, epoch)

    def _commit(self, done: Mapping[int, int], epoch: int) -> None:
        for number, offset in done.items():
            self._attached.edge.commit_through(Partition(self._topic, number), offset, epoch)

    def _fail(self, error: ClickloopError) -> None:
        """Stop the worker in good order, because of `error`; the first one is told."""
        if self.failure is None:
            self.failure = error
            os.kill(os.getpid(), signal.SIGTERM)

    @property
    def _attached(self) -> App:
        assert self._app is not None
        return self._app

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # -- in the learner's own thread

    def _open(self, count: int) -> Mapping[int, int]:
        if self._leaving or self._trainer is not None:
            return {}
        with self.metrics.step("open"):
            trainer = OnlineTrainer(
                self._settings, self._store, self._topic, count, self._source, self.metrics
            )
        starts = trainer.following()
        self._read = {number: starts.get(number, 0) for number in range(count)}
        self._trainer = trainer
        return starts

    def _learn(self, chunk: MessageChunk) -> Mapping[int, int]:
        done: dict[int, int] = {}
        for record in chunk.messages:
            if self._trainer is None or self._leaving or chunk.epoch != self._epoch:
                return {}
            place = message_location(chunk.partition, record)
            try:
                entry = entry_of(chunk.partition, record)
            except DataError as error:
                raise DataError(f"{error} {POISON}") from error
            self._trainer.take(chunk.partition.number, entry, record.value or b"", place)
            self._read[chunk.partition.number] = record.offset + 1
            done |= self._trainer.save_if_due(time.monotonic())
        self._read[chunk.partition.number] = chunk.end
        return done

    def _save_if_due(self) -> Mapping[int, int]:
        return {} if self._trainer is None else self._trainer.save_if_due(time.monotonic())

    def _close(self) -> Mapping[int, int]:
        trainer, self._trainer = self._trainer, None
        if trainer is None:
            return {}
        return trainer.close(time.monotonic(), save=self.failure is None)
