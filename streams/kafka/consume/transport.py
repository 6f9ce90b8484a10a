"""The Faust driver `clickloop://`: aiokafka's, with chunks for messages and commits of our own.

How it differs from Faust's, and why:

- One message is a `MessageChunk`: Faust's work for a message is then done once for many records.
- Faust commits behind what its streams acknowledge, and past offsets it never saw. Here only what
  the worker named in `commit_through` is committed.
- Faust seeks to the committed offsets at the end of a rebalance, for a limited time, and goes on if
  that failed. Here the fetch loop itself asks the owner, and seeks, before it fetches anything.
- A partition whose buffer is full, or that is held, is not fetched from, but what was already
  fetched is still handed over, and fetching goes on the moment there is room.
- The producer is idempotent and waits for all replicas.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.kafka.chunk import MessageChunk, Partition
from streams.kafka.consume.assignment import Owner, check_copartitioned, check_starts
from streams.kafka.consume.consumer_thread import ChunkThread, Fetched
from streams.kafka.consume.gap_detector import GapDetector
from streams.kafka.consume.offsets import CommitOffsets

# How long leaving may take, in seconds: committing needs a broker that answers.
LEAVE_S = 3.0

# A chunk has no time of its own, though Faust's messages must have one.
_NONE: Any = None


class Owned(Protocol):
    """What the driver needs of an app beside what Faust's has."""

    owner: Owner


class Consumer(driver.Consumer):
    """Hands out chunks from the offsets that the owner wants; commits what the worker names."""

    _thread: ChunkThread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._offsets = CommitOffsets()
        self._epoch = 0
        self._gap_detectors: dict[Partition, GapDetector] | None = None  # None: not yet placed
        self._placing: asyncio.Task[dict[Partition, GapDetector]] | None = None
        self._announced: frozenset[Partition] | None = None  # what the owner believes is ours
        self._held: set[TP] = set()
        self._room = asyncio.Event()

    # -- what workers use

    @property
    def epoch(self) -> int:
        """Which assignment this is; chunks of another one are stale."""
        return self._epoch

    def take(self, chunk: MessageChunk) -> MessageChunk | None:
        """The new part of a chunk that Faust delivered; None if nothing is new, or it is not ours.

        Raises GapError if records before the chunk are missing.
        """
        detector = (self._gap_detectors or {}).get(chunk.partition)
        if detector is None or chunk.epoch != self._epoch:
            return None
        new = detector.accept(chunk)
        if new is not None:
            self._offsets.read(new.partition, new.end)
        return new

    def commit_through(self, partition: Partition, offset: int, epoch: int) -> bool:
        """Let `offset` be the partition's committed one, within `commit_interval` seconds.

        No record before `offset` is needed any more. False, without effect, if the partition was
        taken away since `epoch`. Raises ValueError if `offset` was not yet read.
        """
        return self._offsets.through(partition, offset, epoch)

    def log_end(self, partition: Partition) -> int | None:
        """The offset after the partition's last record, as of the last fetch; no request is made.

        None before the first fetch, and if the partition is not ours. Any thread may ask.
        `highwaters` and `earliest_offsets` ask the broker.
        """
        try:
            return self.highwater(TP(*partition))
        except AssertionError:  # aiokafka's, whose thread may lose the partition at any moment
            return None

    def partition_count(self, topic: str) -> int | None:
        """The number of partitions of a topic that is read; None: the topic does not exist."""
        return self._thread.partition_count(topic)

    def hold(self, partitions: Iterable[Partition]) -> None:
        """Fetch nothing from these partitions for now; what has been fetched still comes."""
        self._held.update(TP(*each) for each in partitions)

    def release(self, partitions: Iterable[Partition]) -> None:
        """Fetch from these partitions again."""
        self._held.difference_update(TP(*each) for each in partitions)
        self._room.set()

    async def leave(self) -> None:
        """Tell the owner that the partitions go, and commit what the owner names then."""
        await self._stop_placing()
        self._gap_detectors = None
        announced, self._announced = self._announced, None
        if announced is not None:
            await cast(Owned, self.app).owner.on_revoked(announced, self._epoch)
            # Not cancelled when its time is over: Faust would begin another commit.
            committing = asyncio.ensure_future(self._last_commit())
            await asyncio.wait([committing], timeout=LEAVE_S)
            if not committing.done():
                self.log.warning("No answer from Kafka: left without a last commit")
        self._offsets.end()
        self._held.clear()
        self._epoch += 1

    async def _last_commit(self) -> None:
        # A commit that is under way began before the owner's last word.
        await self.maybe_wait_for_commit_to_finish()
        await self.commit()

    # -- what Faust calls

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop handing out, then leave."""
        self.stop_flow()  # before anything else, or the fetch loop would ask the owner once more
        await self._stop_placing()
        await super().on_partitions_revoked(revoked)
        await self.leave()

    async def perform_seek(self) -> None:
        """Do nothing: the fetch loop seeks by itself."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust takes late commits and idle partitions for signs of trouble."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: Faust would commit the offsets of a chunk that is being worked on."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Fetch on: there is room again."""
        super().on_buffer_drop(tp)
        self._room.set()

    async def _wait_next_records(
        self, timeout: float
    ) -> tuple[Mapping[TP, list[MessageChunk]] | None, set[TP] | None]:
        # Returning None for the partitions keeps Faust from dropping what is already fetched.
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        if self.app.should_stop:
            await self.sleep(timeout)
            return None, None
        if not await self._ensure_placed():
            return None, None
        epoch = self._epoch
        self._room.clear()
        wanted = self._get_active_partitions() - self._held
        if not wanted:
            await self.wait_first(self._room.wait(), timeout=timeout)
            return None, None
        fetched = await self._getmany(active_partitions=wanted, timeout=timeout)
        if epoch != self._epoch:
            return None, None
        return {tp: [_chunk(tp, each, epoch) for each in got] for tp, got in fetched.items()}, None

    def _to_message(self, tp: TP, chunk: MessageChunk) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=chunk.end - 1,
            timestamp=_NONE,
            timestamp_type=_NONE,
            headers=None,
            key=None,
            value=cast(Any, chunk),
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            TP(*each)
            for each in self._offsets.due()
            if topics is None or each in topics or each.topic in topics
        )

    def _new_offset(self, tp: TP) -> int | None:
        return self._offsets.due().get(Partition(*tp))

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return self._new_offset(tp) == offset

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        epoch = self._epoch
        committed = await super()._commit_offsets(offsets, start_new_transaction)
        if committed and epoch == self._epoch:
            self._offsets.done({Partition(*tp): offset for tp, offset in offsets.items()})
        return committed

    # -- where to read from

    async def _ensure_placed(self) -> bool:
        """Settle where to read from, if it is not settled yet; False if that was cut short."""
        if self._gap_detectors is None:
            self._placing = asyncio.ensure_future(self._place())
            await asyncio.wait([self._placing])
            placing, self._placing = self._placing, None
            if placing is None or placing.cancelled():
                return False
            self._gap_detectors = placing.result()
        return True

    async def _stop_placing(self) -> None:
        placing, self._placing = self._placing, None
        if placing is not None:
            placing.cancel()
            await asyncio.wait([placing])

    async def _place(self) -> dict[Partition, GapDetector]:
        """Ask the owner, fill in what the owner leaves open, check the starts, seek."""
        assigned = self.assignment()
        partitions = frozenset(Partition(*tp) for tp in assigned)
        check_copartitioned(partitions)
        self._announced = partitions
        owner_starts = await cast(Owned, self.app).owner.on_assigned(partitions, self._epoch)
        starts: dict[Partition, int] = {}
        if assigned:
            log_starts = _plain(await self.earliest_offsets(*assigned))
            without_start = [TP(*each) for each in partitions if each not in owner_starts]
            committed = _plain(await self._thread.committed(without_start))
            for each in partitions:
                start = owner_starts.get(each, committed.get(each))
                starts[each] = log_starts[each] if start is None else start
            check_starts(starts, log_starts, _plain(await self.highwaters(*assigned)))
            await self._thread.seek_to({TP(*each): start for each, start in starts.items()})
        self._read_offset.clear()
        self._offsets.begin(self._epoch, starts)
        return {each: GapDetector(each, start) for each, start in starts.items()}


def _chunk(tp: TP, fetched: Fetched, epoch: int) -> MessageChunk:
    return MessageChunk(Partition(*tp), fetched.begin, fetched.end, fetched.records, epoch)


def _plain(offsets: Mapping[Any, Any]) -> dict[Partition, Any]:
    return {Partition(*tp): offset for tp, offset in offsets.items()}


class IdempotentProducer(driver.Producer):
    """Loses and repeats nothing while it lives; its senders learn of a send that fails."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):
    """`clickloop://host:port`, several brokers separated by semicolons."""

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = IdempotentProducer
