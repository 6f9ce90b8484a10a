"""The join worker's Faust agents: its partitions, and the driver of each.

Faust brings chunks of both input topics and says which partitions are ours; a `Runner` drives the
state machine of each.
"""

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, cast

import faust
import msgspec

from joiner.core.dead_letters import letters_of
from joiner.protocol.effects import Report
from joiner.protocol.partition import Beginnings, JoinPartition, Setup, SupersededError
from joiner.runner import Decode, Pace, Runner
from streams.arrow_ipc import ARROW, CONTENT_TYPE, JSON
from streams.arrow_ipc import encode as encode_rows
from streams.deadletter import DeadLetter
from streams.kafka.consume.app import App, chunks
from streams.kafka.consume.chunk import Partition
from streams.kafka.consume.labelled import entry_of
from streams.kafka.consume.range_reader import RangeReader
from streams.labelled_log import HEADER, Entry, Message, encode
from streams.merge import CLICK, IMPRESSION, SOURCES

log = logging.getLogger(__name__)

DRAIN_S = 4.0  # how long a worker that stops waits for its last acknowledgements


@dataclass(frozen=True, slots=True)
class JoinTopics:
    """Names. The first three have equally many partitions."""

    impressions: str
    clicks: str
    labelled: str
    dead_letters: str
    late_clicks: str

    @property
    def inputs(self) -> tuple[str, str]:
        """Impressions and clicks, as `streams.merge` numbers them."""
        return self.impressions, self.clicks


class JoinWorker:
    """Joins the partitions that Faust gives it."""

    def __init__(
        self,
        topics: JoinTopics,
        setup: Setup,
        decoders: Callable[[Partition], Decode],
        connect: Callable[[], AbstractAsyncContextManager[RangeReader]],
        executor: Executor,
        pace: Pace,
    ) -> None:
        """decoders: of an input partition's messages. connect: a reader beside the consumer."""
        self._topics = topics
        self._setup = setup
        self._decoders = decoders
        self._connect = connect
        self._open = AsyncExitStack()
        self._reader: RangeReader | None = None
        self._executor = executor
        self._pace = pace
        self.letters: Counter[str] = Counter()  # dead letters sent, by reason
        self._done = 0  # messages of partitions that have gone
        self._superseded: set[int] = set()
        self._runners: dict[int, Runner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._reading = asyncio.Lock()
        self._app: App | None = None

    @property
    def runners(self) -> Mapping[int, Runner]:
        """The driver of each partition that is ours, to look at."""
        return self._runners

    @property
    def pending(self) -> int:
        """Messages to read, of all partitions that are ours."""
        return sum(sum(runner.lag) for runner in list(self._runners.values()))

    @property
    def processed(self) -> int:
        """Messages read, ever."""
        return self._done + sum(runner.processed for runner in list(self._runners.values()))

    def not_ready(self) -> str | None:
        """Why it does not do its work; None: it does."""
        if not self._tasks:
            return "no partitions are assigned yet"
        if self._superseded:
            return f"another worker has claimed the partitions {sorted(self._superseded)}"
        runners = list(self._runners.items())
        behind = [number for number, runner in runners if not runner.is_caught_up]
        if behind:
            return f"catching up: {self.pending} messages to go in the partitions {behind}"
        broken = [number for number, runner in runners if runner.machine.joiner.breaker.open]
        if broken:
            return f"the clicks of the partitions {broken} stay away; labels wait for them"
        return None

    def attach(self, app: App) -> None:
        """Read the input topics of `app`."""
        self._app = app

        def reads(source: int) -> Callable[[faust.StreamT[Any]], Any]:
            async def read(stream: faust.StreamT[Any]) -> None:
                async for chunk in chunks(stream):
                    self._runners[chunk.partition.number].take(source, chunk)

            return read

        for source in SOURCES:
            name = self._topics.inputs[source]
            app.agent(app.chunk_topic(name), name=f"join.{name}")(reads(source))
        app.on_before_shutdown.connect(cast(Any, self._close), weak=False)

    async def on_assigned(
        self, partitions: frozenset[Partition], epoch: int
    ) -> Mapping[Partition, int]:
        """Claim each partition, and find out where its inputs are to be read from."""
        if self._reader is None:
            self._reader = await self._open.enter_async_context(self._connect())
        numbers = sorted({number for _, number in partitions})
        runners = {number: self._runner(self._reader, number, epoch) for number in numbers}
        starts: dict[Partition, int] = {}
        for number, runner in runners.items():
            begins = await runner.claim()
            starts |= {Partition(self._topics.inputs[s], number): begins[s] for s in SOURCES}
        self._runners = runners
        self._tasks = {
            number: asyncio.create_task(self._run(number, runner))
            for number, runner in runners.items()
        }
        return starts

    async def on_revoked(self, partitions: frozenset[Partition], epoch: int) -> None:
        """Let go of all of them; what is published and not yet acknowledged may settle."""
        del partitions, epoch
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._done = self.processed
        runners, self._runners, self._tasks = self._runners, {}, {}
        self._superseded.clear()
        draining = [asyncio.create_task(runner.drain()) for runner in runners.values()]
        if draining:
            _, late = await asyncio.wait(draining, timeout=DRAIN_S)
            for task in late:
                task.cancel()

    async def _close(self, *_: Any, **__: Any) -> None:
        await self._open.aclose()

    async def _run(self, number: int, runner: Runner) -> None:
        try:
            await runner.run()
        except SupersededError as error:
            # Whoever claimed it has it; the group will say whether it is ours again.
            log.warning("partition %d: %s", number, error)
            self._superseded.add(number)
        except Exception as error:  # whatever it is, this worker must not go on
            log.error("partition %d: %s", number, error)
            assert self._app is not None
            await self._app.crash(error)
            raise

    def _runner(self, reader: RangeReader, number: int, epoch: int) -> Runner:
        assert self._app is not None
        link = KafkaLink(
            self._app,
            reader,
            self._reading,
            self._topics,
            self._setup,
            number,
            epoch,
            self.letters,
        )
        decode_each = [self._decoders(Partition(name, number)) for name in self._topics.inputs]
        machine = JoinPartition(self._setup, uuid.uuid4().hex)
        both = decode_each[IMPRESSION], decode_each[CLICK]
        return Runner(machine, link, both, self._executor, self._pace)


class KafkaLink:
    """What a partition's driver needs of Kafka, through the worker's app."""

    def __init__(
        self,
        app: App,
        reader: RangeReader,
        reading: asyncio.Lock,
        topics: JoinTopics,
        setup: Setup,
        number: int,
        epoch: int,
        letters: Counter[str],
    ) -> None:
        """reading: held while the reader is used. epoch: of the assignment. letters: dead letters
        sent, by reason, are counted there.
        """
        self._epoch = epoch
        self._letters = letters
        self._app = app
        self._reader = reader
        self._reading = reading
        self._topics = topics
        self._setup = setup
        self._inputs = [Partition(name, number) for name in topics.inputs]
        self._labelled = Partition(topics.labelled, number)

    async def send(self, header: Message, value: bytes) -> asyncio.Future[int]:
        """Append to the labelled partition."""
        headers = {HEADER: encode(header), CONTENT_TYPE: ARROW.encode()}
        return await self._app.send_to(self._labelled, value, headers)

    async def report(self, report: Report) -> None:
        """Send dead letters and late clicks, and wait until they are there."""
        join = self._setup.join
        letters = report.letters + letters_of(report.rejected, join, self._file)
        sent = [await self._send_letter(letter) for letter in letters]
        if report.late.num_rows:
            value = encode_rows([report.late], report.late.schema)
            to = Partition(self._topics.late_clicks, self._labelled.number)
            sent.append(await self._app.send_to(to, value, {CONTENT_TYPE: ARROW.encode()}))
        await asyncio.gather(*sent)

    async def entries(self, start: int, stop: int) -> list[Entry]:
        """The labelled partition's messages of these offsets."""
        async with self._reading:
            records = await self._reader.records(self._labelled, start, stop)
        return [entry_of(self._labelled, record) for record in records]

    async def beginnings(self) -> Beginnings:
        """The first offset each of the three logs has."""
        every = [*self._inputs, self._labelled]
        async with self._reading:
            found = await self._reader.beginnings(every)
        return Beginnings(*(found[each] for each in every))

    def commit(self, source: int, offset: int) -> None:
        """Nothing before this offset of an input log is needed."""
        self._app.edge.commit_through(self._inputs[source], offset, self._epoch)

    def log_end(self, source: int) -> int | None:
        """The offset after the last record of an input log; None before it is known."""
        return self._app.edge.log_end(self._inputs[source])

    def hold(self, source: int, held: bool) -> None:
        """Fetch nothing from an input log for now, or again."""
        edge = self._app.edge
        (edge.hold if held else edge.release)([self._inputs[source]])

    def _file(self, source: str, _: int) -> str:
        return str(self._inputs[source == "clicks"])

    async def _send_letter(self, letter: DeadLetter) -> asyncio.Future[int]:
        self._letters[letter.reason] += 1
        headers = {
            CONTENT_TYPE: JSON,
            "source": letter.file,
            "offset": str(letter.src_offset),
            "row": str(letter.src_row),
            "reason": letter.reason,
        }
        encoded = {name: text.encode() for name, text in headers.items()}
        to = Partition(self._topics.dead_letters, self._labelled.number)
        return await self._app.send_to(to, msgspec.json.encode(asdict(letter)), encoded)
