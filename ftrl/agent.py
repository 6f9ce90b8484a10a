"""The learner's Faust agent: chunks of the labelled topic in, messages of it out."""

from collections.abc import Awaitable, Callable

import faust

from streams.blocks import HEADER, Entry, decode
from streams.kafka.app import App, chunks
from streams.kafka.chunk import Chunk, Partition, Record


def place_of(partition: Partition, record: Record) -> str:
    """Where a message is, for an operator."""
    return f"topic {partition.topic}, partition {partition.number}, offset {record.offset}"


def entry_of(partition: Partition, record: Record) -> Entry:
    """The message of a record. Raises DataError if its header cannot be read."""
    for name, header in record.headers:
        if name == HEADER:
            return Entry(record.offset, decode(header, place_of(partition, record)))
    return Entry(record.offset, None)


def learn_from(app: App, topic: str, take: Callable[[Chunk], Awaitable[None]]) -> None:
    """Have `app` read `topic`: `take` gets each chunk, and the next when it is done with it."""

    async def learn(stream: faust.StreamT[Chunk]) -> None:
        async for chunk in chunks(stream):
            await take(chunk)

    app.agent(app.chunk_topic(topic), name="learn")(learn)
