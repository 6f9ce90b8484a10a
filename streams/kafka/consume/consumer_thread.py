"""The thread that talks to Kafka; it hands over all fetched records of a partition at once."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

# While partitions are being handed out there is nothing to fetch; how long to wait, in seconds.
REASSIGNMENT_PAUSE_S = 0.1


class Fetched(NamedTuple):
    """Records of a partition, and the positions before and after them."""

    begin: int
    end: int
    records: list[Any]


class ChunkThread(AIOKafkaConsumerThread):
    """aiokafka's consumer in its thread."""

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int | None]:
        """The group's committed offset of each partition; None without one."""
        consumer = self._ensure_consumer()

        async def ask() -> dict[TP, int | None]:
            return {tp: await consumer.committed(tp) for tp in partitions}

        found: dict[TP, int | None] = await self.call_thread(ask)
        return found

    def partition_count(self, topic: str) -> int | None:
        """The number of partitions of a topic that is read; None: the topic does not exist."""
        numbers = self._ensure_consumer().partitions_for_topic(topic)
        return len(numbers) if numbers else None

    async def seek_to(self, starts: Mapping[TP, int]) -> None:
        """Read on from `starts`."""
        consumer = self._ensure_consumer()

        async def seek() -> None:
            for tp, offset in starts.items():
                consumer.seek(tp, offset)

        await self.call_thread(seek)

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[TP, list[Fetched]]:
        """One item a partition; waits for up to `timeout` seconds if there is nothing yet."""
        fetcher = consumer._fetcher
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        if fetcher._subscriptions.reassignment_in_progress:
            await asyncio.sleep(REASSIGNMENT_PAUSE_S)
            return {}
        with fetcher._subscriptions.fetch_context():
            found = await _drain(fetcher, active_partitions, max_records)
            if not found:
                waiter = fetcher._create_fetch_waiter()
                await asyncio.wait([waiter], timeout=timeout)
                if waiter.done():
                    waiter.result()  # raises what went wrong
                waiter.cancel()
        return found


def _unwrapped(held: Any) -> None:
    """Have aiokafka hand out fetched records as its own parser makes them.

    A parsed record has all that a `Message` needs; copying it into a ConsumerRecord would take as
    long as parsing it.
    """
    if isinstance(held, FetchResult) and held._partition_records is not None:
        held._partition_records._consumer_record = lambda _, record: record


async def _drain(
    fetcher: Any, partitions: set[TP], max_records: int | None
) -> dict[TP, list[Fetched]]:
    """The records that have arrived. Never suspends, so the positions belong to the records."""
    assignment = fetcher._subscriptions.subscription.assignment
    found = {}
    for tp in partitions & assignment.tps:
        state = assignment.state_value(tp)
        if state.has_valid_position:
            begin = state.position
            _unwrapped(fetcher._records.get(tp))
            # One by one: asked for all, aiokafka empties one partition before it turns to the next.
            got = await fetcher.fetched_records([tp], timeout=0, max_records=max_records)
            if state.position > begin:
                found[tp] = [Fetched(begin, state.position, got.get(tp, []))]
    return found
