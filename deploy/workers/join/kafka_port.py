"""Kafka as the driver of a partition sees it, through the worker's Faust app."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import msgspec

from joiner import JoinSettings, dead_letters_of
from joiner.protocol import Beginnings, Report
from streams.arrow_ipc import ARROW, CONTENT_TYPE, JSON
from streams.arrow_ipc import encode as encode_rows
from streams.deadletter import DeadLetter
from streams.kafka import Partition
from streams.kafka.consume import App, RangeReader, entry_of
from streams.labelled_log import HEADER_NAME, Entry, Header, encode


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


class KafkaPort:
    """The port of one partition's driver to Kafka, through the worker's app."""

    def __init__(
        self,
        app: App,
        reader: RangeReader,
        reading: asyncio.Lock,
        topics: JoinTopics,
        join: Callable[[], JoinSettings],
        number: int,
        epoch: int,
        letters: Counter[str],
    ) -> None:
        """reading: held while the reader is used. join: gives the settings that the partition is
        joined by. epoch: of the assignment. letters: dead letters sent, by reason, are counted
        there.
        """
        self._epoch = epoch
        self._letters = letters
        self._app = app
        self._reader = reader
        self._reading = reading
        self._topics = topics
        self._join = join
        self._inputs = [Partition(name, number) for name in topics.inputs]
        self._labelled = Partition(topics.labelled, number)

    async def send(self, header: Header, value: bytes) -> asyncio.Future[int]:
        """Append to the labelled partition."""
        headers = {HEADER_NAME: encode(header), CONTENT_TYPE: ARROW.encode()}
        return await self._app.send_to(self._labelled, value, headers)

    async def report(self, report: Report) -> None:
        """Send dead letters and late clicks, and wait until they are there."""
        letters = report.dead_letters + dead_letters_of(report.rejected, self._join(), self._file)
        sent = [await self._send_dead_letter(letter) for letter in letters]
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
        """The first offset that is left of each of the three logs."""
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

    async def _send_dead_letter(self, letter: DeadLetter) -> asyncio.Future[int]:
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
