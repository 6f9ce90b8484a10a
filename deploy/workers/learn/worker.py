"""`clickloop worker learn`: the labelled topic in, weights and serving versions out.

    Kafka ── chunks ── agent ── Learning (one thread) ── store
                          │
                          └─ health, metrics, watchdog

It trains only while it owns all partitions of the topic, and has the store open only then. Where
it reads on is what the store says; the offsets it commits to the group are for lag monitors.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from deploy.settings import Settings
from deploy.storage.rocksdb import StoreHeldError
from deploy.workers.health import Health
from deploy.workers.learn.metrics import LearnMetrics
from deploy.workers.learn.online_trainer import POISON, Learning
from deploy.workers.watchdog import Watch, Watchdog
from ftrl import Training, learn_from
from streams.errors import ClickloopError, DataError
from streams.kafka import MessageChunk, Partition, faust_options
from streams.kafka.consume import create_app, entry_of, message_location, run

log = logging.getLogger(__name__)
T = TypeVar("T")

# A value of each type that an example must have.
_PLAIN = {pa.string(): "", pa.int64(): 0, pa.int8(): 0, pa.float64(): 1.0, pa.bool_(): True}

TICK_S = 0.25  # how often it looks whether a save is due, or done
RETRY_S = 0.5  # how often it tries to open a store that another process has


@dataclass(frozen=True, slots=True)
class Where:
    """What a learner reads: brokers (`host:port`, separated by commas), its group, its topic.

    more: further options of the Faust app, credentials for example.
    """

    brokers: str
    group: str
    topic: str
    more: Mapping[str, Any] = field(default_factory=dict)


def where(settings: Settings) -> Where:
    """What a learner with these settings reads. Raises ConfigError without its credentials."""
    kafka = settings.kafka
    group, topic = f"{kafka.group_prefix}-learn", settings.topics.labelled
    return Where(kafka.bootstrap_servers, group, topic, more=faust_options(kafka))


class LearnWorker:
    """The worker's parts, and its side of every assignment of partitions."""

    def __init__(self, settings: Settings, where: Where, store: Path, source: Path | None) -> None:
        """store, source: as `Learning` says. Raises ConfigError if its port is taken."""
        self._settings = settings
        self._topic = where.topic
        self._store = store
        self._source = source
        self.failure: ClickloopError | None = None
        self._learning: Learning | None = None
        self._leaving = False
        self._epoch = -1
        self._waiting: str | None = "no answer from Kafka yet"
        self._read: dict[int, int] = {}  # the offset after the last message taken, by partition
        self._behind = True
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="clickloop-learn")
        self._metrics = LearnMetrics(self.lag, lambda: self._learning is not None)
        self.health = Health(settings.worker.learn_http, self.not_ready, self._metrics.registry)
        watch = Watch(
            f"there are messages to read in topic {where.topic}, and none was learned from",
            lambda: sum(self.lag().values()),
            lambda: self._metrics.messages,
        )
        watchdog = Watchdog(settings.worker.stuck_after, [watch])
        self.app = create_app(
            where.group,
            where.brokers,
            self,
            exclusive=True,
            **where.more,
        )
        self.app.companions = (self.health, watchdog, _Ticking(self._tick))
        learn_from(self.app, where.topic, self._take)

    # -- what it says of itself

    def lag(self) -> dict[int, int]:
        """Messages to read, by partition; none while it does not train."""
        if self._learning is None:
            return {}
        ends = {n: self.app.edge.log_end(Partition(self._topic, n)) for n in list(self._read)}
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

    # -- the owner's part

    async def on_assigned(
        self, partitions: frozenset[Partition], epoch: int
    ) -> Mapping[Partition, int]:
        """With all partitions: open the store, and read on where it says. Else wait."""
        mine = {number for topic, number in partitions if topic == self._topic}
        count = self.app.edge.partition_count(self._topic)
        try:
            if count and len(mine) == count and self.failure is None:
                return await self._begin(count, epoch)
        except ClickloopError as error:
            self._fail(error)
        self.app.edge.hold(partitions)
        self._wait(
            f"the topic {self._topic} is not there; create it"
            if not count
            else f"another learner of the group has {count - len(mine)} of the {count} partitions "
            f"of topic {self._topic}; this one trains when it has all of them"
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

    # -- the agent's part

    async def _take(self, chunk: MessageChunk) -> None:
        if self.failure is None:
            await self._guarded(lambda: self._learn(chunk), chunk.epoch)

    async def _tick(self) -> None:
        epoch = self._epoch
        if self._learning is not None and self.failure is None:
            await self._guarded(self._keep, epoch)

    async def _guarded(self, work: Callable[[], Mapping[int, int]], epoch: int) -> None:
        try:
            done = await self._in_thread(work)
        except ClickloopError as error:
            self._fail(error)
        else:
            self._commit(done, epoch)

    def _commit(self, done: Mapping[int, int], epoch: int) -> None:
        for number, offset in done.items():
            self.app.edge.commit_through(Partition(self._topic, number), offset, epoch)

    def _fail(self, error: ClickloopError) -> None:
        """Stop the worker in good order, because of `error`; the first one is told."""
        if self.failure is None:
            self.failure = error
            os.kill(os.getpid(), signal.SIGTERM)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # -- in the learner's own thread

    def _open(self, count: int) -> Mapping[int, int]:
        if self._leaving or self._learning is not None:
            return {}
        with self._metrics.step("open"):
            learning = Learning(
                self._settings, self._store, self._topic, count, self._source, self._metrics
            )
        starts = learning.following()
        self._read = {number: starts.get(number, 0) for number in range(count)}
        self._learning = learning
        return starts

    def _learn(self, chunk: MessageChunk) -> Mapping[int, int]:
        done: dict[int, int] = {}
        for record in chunk.messages:
            if self._learning is None or self._leaving or chunk.epoch != self._epoch:
                return {}
            place = message_location(chunk.partition, record)
            try:
                entry = entry_of(chunk.partition, record)
            except DataError as error:
                raise DataError(f"{error} {POISON}") from error
            self._learning.take(chunk.partition.number, entry, record.value or b"", place)
            self._read[chunk.partition.number] = record.offset + 1
            done |= self._learning.keep(time.monotonic())
        self._read[chunk.partition.number] = chunk.end
        return done

    def _keep(self) -> Mapping[int, int]:
        return {} if self._learning is None else self._learning.keep(time.monotonic())

    def _close(self) -> Mapping[int, int]:
        learning, self._learning = self._learning, None
        if learning is None:
            return {}
        return learning.close(time.monotonic(), save=self.failure is None)


class _Ticking:
    """Calls `what` over and over, beside the app."""

    def __init__(self, what: Callable[[], Awaitable[None]]) -> None:
        self._what = what
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """From now on."""
        self._task = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """No longer."""
        if self._task is not None:
            self._task.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._what()


def warm(settings: Settings) -> None:
    """Compile the kernels now: the first run of a version takes a minute, in which a member of
    the group would hold its partitions and do nothing."""
    schema = settings.events.labelled
    nulls = {field.name: None if field.nullable else _PLAIN[field.type] for field in schema}
    training = Training(settings.training, lambda _: None)
    for _ in training.learn(pa.RecordBatch.from_pylist([nulls], schema)):
        pass


def learn(settings: Settings, where: Where, store: Path, source: Path | None) -> None:
    """Run the worker until SIGTERM or SIGINT. Ends the process, or raises what made it stop."""
    warm(settings)
    worker = LearnWorker(settings, where, store, source)
    print(f"clickloop: health and metrics at http://{worker.health.address}", flush=True)
    try:
        run(worker.app)
    finally:
        if worker.failure is not None:
            raise worker.failure
