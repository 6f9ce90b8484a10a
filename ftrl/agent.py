"""The learner's Faust agent: it reads the labelled topic in chunks."""

from collections.abc import Awaitable, Callable

import faust

from streams.kafka import MessageChunk
from streams.kafka.consume import App, chunks


def learn_from(app: App, topic: str, take: Callable[[MessageChunk], Awaitable[None]]) -> None:
    """Have `app` read `topic` in chunks: `take` gets the next when it is done with one."""

    async def take_all(stream: faust.StreamT[MessageChunk]) -> None:
        async for chunk in chunks(stream):
            await take(chunk)

    app.agent(app.chunk_topic(topic), name="learn")(take_all)
