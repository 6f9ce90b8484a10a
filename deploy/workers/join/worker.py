"""The join worker: the partitions that Faust gives it, and the driver of each.

Faust brings chunks of both input topics and says which partitions the worker has; a
`PartitionDriver` drives the state machine of each.
"""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, cast

from deploy.workers.join.kafka_port import JoinTopics, KafkaPort
from deploy.workers.join.partition_driver import Decode, DriverSettings, PartitionDriver
from deploy.workers.watchdog import Probe
from joiner import join_from
from joiner.protocol import FencedError, JoinPartition, PartitionConfig
from streams.events import CLICK, IMPRESSION, SOURCES
from streams.kafka import MessageChunk, Partition
from streams.kafka.consume import App, RangeReader

log = logging.getLogger(__name__)

DRAIN_S = 4.0  # how long a worker that stops waits for its last acknowledgements


class JoinWorker:
    """Joins the partitions that Faust gives it."""

    def __init__(
        self,
        topics: JoinTopics,
        setup: PartitionConfig,
        decoders: Callable[[Partition], Decode],
        connect: Callable[[], AbstractAsyncContextManager[RangeReader]],
        executor: Executor,
        driving: DriverSettings,
    ) -> None:
        """decoders: of an input partition's messages. connect: a reader beside the consumer."""
        self._topics = topics
        self._setup = setup
        self._decoders = decoders
        self._connect = connect
        self._open = AsyncExitStack()
        self._reader: RangeReader | None = None
        self._executor = executor
        self._driving = driving
        self.letters: Counter[str] = Counter()  # dead letters sent, by reason
        self._joined_before = 0  # messages of partitions that are no longer this worker's
        self._superseded: set[int] = set()
        self._drivers: dict[int, PartitionDriver] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._reading = asyncio.Lock()
        self._app: App | None = None

    @property
    def drivers(self) -> Mapping[int, PartitionDriver]:
        """The driver of each partition it has, to look at."""
        return self._drivers

    @property
    def pending(self) -> int:
        """Messages to read, of all partitions it has."""
        return sum(sum(driver.lag) for driver in list(self._drivers.values()))

    @property
    def processed(self) -> int:
        """Messages read, ever."""
        return self._joined_before + sum(
            driver.processed for driver in list(self._drivers.values())
        )

    def probe(self) -> Probe:
        """Its work, for the watchdog."""
        return Probe(
            "there are messages to join, and none was read",
            lambda: self.pending,
            lambda: self.processed,
        )

    def not_ready(self) -> str | None:
        """Why it does not do its work; None: it does."""
        if not self._tasks:
            return "no partitions are assigned yet"
        if self._superseded:
            return f"another worker has claimed the partitions {sorted(self._superseded)}"
        drivers = list(self._drivers.items())
        behind = [number for number, driver in drivers if not driver.is_caught_up]
        if behind:
            return f"catching up: {self.pending} messages to go in the partitions {behind}"
        broken = [number for number, driver in drivers if driver.machine.joiner.breaker.open]
        if broken:
            return f"the clicks of the partitions {broken} stay away; labels wait for them"
        return None

    def attach(self, app: App) -> None:
        """Read the input topics of `app`."""
        self._app = app

        def take(source: int, chunk: MessageChunk) -> None:
            self._drivers[chunk.partition.number].take(source, chunk)

        join_from(app, self._topics.inputs, take)
        app.on_before_shutdown.connect(cast(Any, self._close), weak=False)

    async def on_assigned(
        self, partitions: frozenset[Partition], epoch: int
    ) -> Mapping[Partition, int]:
        """Claim each partition, and find out where its inputs are to be read from."""
        if self._reader is None:
            self._reader = await self._open.enter_async_context(self._connect())
        numbers = sorted({number for _, number in partitions})
        drivers = {number: self._driver(self._reader, number, epoch) for number in numbers}
        starts: dict[Partition, int] = {}
        for number, driver in drivers.items():
            begins = await driver.claim()
            starts |= {Partition(self._topics.inputs[s], number): begins[s] for s in SOURCES}
        self._drivers = drivers
        self._tasks = {
            number: asyncio.create_task(self._run(number, driver))
            for number, driver in drivers.items()
        }
        return starts

    async def on_revoked(self, partitions: frozenset[Partition], epoch: int) -> None:
        """Let go of all of them; what is published and not yet acknowledged may settle."""
        del partitions, epoch
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._joined_before = self.processed
        drivers, self._drivers, self._tasks = self._drivers, {}, {}
        self._superseded.clear()
        draining = [asyncio.create_task(driver.drain()) for driver in drivers.values()]
        if draining:
            _, late = await asyncio.wait(draining, timeout=DRAIN_S)
            for task in late:
                task.cancel()

    async def _close(self, *_: Any, **__: Any) -> None:
        await self._open.aclose()

    async def _run(self, number: int, driver: PartitionDriver) -> None:
        try:
            await driver.run()
        except FencedError as error:
            # Whoever claimed it has it; the group will say whether it is ours again.
            log.warning("partition %d: %s", number, error)
            self._superseded.add(number)
        except Exception as error:  # whatever it is, this worker must not go on
            log.error("partition %d: %s", number, error)
            assert self._app is not None
            await self._app.crash(error)
            raise

    def _driver(self, reader: RangeReader, number: int, epoch: int) -> PartitionDriver:
        assert self._app is not None
        machine = JoinPartition(self._setup, uuid.uuid4().hex)
        port = KafkaPort(
            self._app,
            reader,
            self._reading,
            self._topics,
            lambda: machine.join,
            number,
            epoch,
            self.letters,
        )
        decode_each = [self._decoders(Partition(name, number)) for name in self._topics.inputs]
        both = decode_each[IMPRESSION], decode_each[CLICK]
        return PartitionDriver(machine, port, both, self._executor, self._driving)
