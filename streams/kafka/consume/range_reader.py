"""Reading a known range of a partition, beside the worker's own consumer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.kafka.chunk import Message, Partition

_POLL_MS = 500


class RangeReader:
    """Reads ranges of offsets; belongs to no consumer group, so it disturbs none."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        """consumer: started, of no group, with no topics."""
        self._consumer = consumer

    async def beginnings(self, partitions: list[Partition]) -> Mapping[Partition, int]:
        """The first offset that each partition still has."""
        wanted = [TopicPartition(*each) for each in partitions]
        found = await self._consumer.beginning_offsets(wanted)
        return {Partition(*tp): offset for tp, offset in found.items()}

    async def records(self, partition: Partition, start: int, stop: int) -> list[Message]:
        """The records there are from offset `start` up to, not including, `stop`."""
        tp = TopicPartition(*partition)
        start = max(start, (await self.beginnings([partition]))[partition])
        found: list[Message] = []
        if start >= stop:
            return found
        self._consumer.assign([tp])
        self._consumer.seek(tp, start)
        try:
            while await self._consumer.position(tp) < stop:
                for records in (await self._consumer.getmany(timeout_ms=_POLL_MS)).values():
                    found += (record for record in records if record.offset < stop)
        finally:
            self._consumer.unsubscribe()
        return found


@asynccontextmanager
async def range_reader(client: Mapping[str, Any]) -> AsyncIterator[RangeReader]:
    """A reader; client: aiokafka's settings of address and credentials."""
    consumer = AIOKafkaConsumer(
        group_id=None, enable_auto_commit=False, auto_offset_reset="earliest", **client
    )
    await consumer.start()
    try:
        yield RangeReader(consumer)
    finally:
        await consumer.stop()
