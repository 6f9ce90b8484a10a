"""A worker that reads topics in chunks and writes down everything that happens to it.

Usage: python -m tests.system.kafka.workers.reader ADDRESS GROUP JOURNAL OPTIONS, where OPTIONS is
the JSON of a `Reading`. The journal has one JSON object a line, written at once.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faust

from streams.kafka.chunk import Partition
from streams.kafka.consume.app import chunks, create_app, run


@dataclass(frozen=True, slots=True)
class Reading:
    """What the worker reads, and how."""

    topics: list[str]
    keep: int = 0  # records before the last one read that are still needed
    commit: bool = True
    slow_s: float = 0.0  # for each chunk
    gate: str | None = None  # a file: until it is there, the first chunk is not done with
    starts: dict[str, dict[str, int]] = field(default_factory=dict)  # by topic and partition
    claim_s: float = 0.0  # how long the owner takes to answer
    fail_at: int | None = None  # the agent fails when it has read this offset
    session_timeout: float = 6.0
    chunk_records: int = 500
    commit_interval: float = 0.2
    hold_at: int | None = None  # its partition is held for a second when this offset is read
    publish: str | None = None  # a topic to which every value is sent on, chunk by chunk


class Journal:
    """Lines appended with one write each, so that a kill leaves only whole ones."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, **values: Any) -> None:
        """One line."""
        line = json.dumps({"what": what, "pid": os.getpid(), **values}) + "\n"
        os.write(self._file, line.encode())


class Noting:
    """An owner that writes down what it is told."""

    def __init__(self, journal: Journal, reading: Reading) -> None:
        self._journal = journal
        self._reading = reading

    async def on_assigned(
        self, partitions: frozenset[Partition], epoch: int
    ) -> Mapping[Partition, int]:
        """Starts as the options say."""
        self._journal.write("assigned", partitions=sorted(partitions), epoch=epoch)
        await asyncio.sleep(self._reading.claim_s)
        starts = self._reading.starts
        own = {Partition(t, int(n)): at for t, by in starts.items() for n, at in by.items()}
        return {each: own[each] for each in partitions if each in own}

    async def on_revoked(self, partitions: frozenset[Partition], epoch: int) -> None:
        """Only noted."""
        self._journal.write("revoked", partitions=sorted(partitions), epoch=epoch)


def main(address: str, group: str, path: str, options: str) -> None:
    """Run the worker."""
    reading = Reading(**json.loads(options))
    journal = Journal(Path(path))
    app = create_app(
        group,
        address,
        Noting(journal, reading),
        session_timeout=reading.session_timeout,
        commit_interval=reading.commit_interval,
        chunk_records=reading.chunk_records,
    )

    def release(partition: Partition) -> None:
        journal.write("released", topic=partition.topic)
        app.edge.release([partition])

    async def read(stream: faust.StreamT[Any]) -> None:
        async for chunk in chunks(stream):
            values = [int(record.value or b"-1") for record in chunk.messages]
            journal.write(
                "chunk",
                topic=chunk.partition.topic,
                number=chunk.partition.number,
                begin=chunk.begin,
                end=chunk.end,
                offsets=[record.offset for record in chunk.messages],
                values=values,
                epoch=chunk.epoch,
                log_end=app.edge.log_end(chunk.partition),
            )
            if reading.fail_at is not None and chunk.end > reading.fail_at:
                raise RuntimeError("asked to fail")
            if reading.hold_at is not None and chunk.begin <= reading.hold_at < chunk.end:
                app.edge.hold([chunk.partition])
                asyncio.get_running_loop().call_later(1.0, release, chunk.partition)
            await asyncio.sleep(reading.slow_s)
            while reading.gate is not None and not Path(reading.gate).exists():
                await asyncio.sleep(0.05)
            if reading.publish is not None:
                to = Partition(reading.publish, chunk.partition.number)
                begin = {"begin": str(chunk.begin).encode()}
                await (await app.send_to(to, json.dumps(values).encode(), begin))
            if reading.commit:
                app.edge.commit_through(chunk.partition, chunk.end - reading.keep, chunk.epoch)

    for topic in reading.topics:
        app.agent(app.chunk_topic(topic), name=topic)(read)
    journal.write("up")
    run(app, logging.INFO)


if __name__ == "__main__":
    main(*sys.argv[1:])
