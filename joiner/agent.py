"""The joiner's Faust agents: they read the two input topics in chunks."""

from collections.abc import Callable
from typing import Any

import faust

from streams.events import SOURCES
from streams.kafka import MessageChunk
from streams.kafka.consume import App, chunks


def join_from(app: App, topics: tuple[str, str], take: Callable[[int, MessageChunk], None]) -> None:
    """Have `app` read `topics` (impressions, clicks): `take` gets each chunk and its source."""

    def reads(source: int) -> Callable[[faust.StreamT[Any]], Any]:
        async def read(stream: faust.StreamT[Any]) -> None:
            async for chunk in chunks(stream):
                take(source, chunk)

        return read

    for source in SOURCES:
        name = topics[source]
        app.agent(app.chunk_topic(name), name=f"join.{name}")(reads(source))
