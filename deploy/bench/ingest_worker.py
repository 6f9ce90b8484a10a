"""One worker that only counts: a plain Faust agent, or one that reads chunks.

Run by `clickloop bench ingest` as a process of its own; prints how fast records came.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import faust

from streams.kafka import Partition
from streams.kafka.consume import chunks, create_app, run


class _Meter:
    """Counts records from the first delivery on; that one only starts the clock."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._seen = 0
        self._first = 0
        self._started = 0.0

    def add(self, records: int) -> None:
        """So many came; when there are enough, print the rate and end the worker."""
        if self._seen >= self._count:
            return
        self._seen += records
        if not self._first:
            self._first, self._started = self._seen, time.perf_counter()
        elif self._seen >= self._count:
            seconds = time.perf_counter() - self._started
            rate = (self._seen - self._first) / seconds
            print(json.dumps({"records": self._seen, "per_s": rate}), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)


class _Nobody:
    """An owner that lets reading begin where the group left off."""

    async def on_assigned(self, *_: object) -> Mapping[Partition, int]:
        return {}

    async def on_revoked(self, *_: object) -> None:
        return None


def _in_chunks(address: str, topic: str, group: str, meter: _Meter) -> None:
    app = create_app(group, address, _Nobody())

    async def count(stream: faust.StreamT[Any]) -> None:
        async for chunk in chunks(stream):
            meter.add(len(chunk.messages))
            app.edge.commit_through(chunk.partition, chunk.end, chunk.epoch)

    app.agent(app.chunk_topic(topic))(count)
    run(app)


def _plain(address: str, topic: str, group: str, meter: _Meter) -> None:
    with tempfile.TemporaryDirectory() as folder:  # Faust makes one, needed or not
        app = faust.App(
            group,
            broker=f"kafka://{address}",
            datadir=folder,
            autodiscover=False,
            consumer_auto_offset_reset="earliest",
            topic_disable_leader=True,
            topic_allow_declare=False,
            web_enabled=False,
            stream_wait_empty=False,
        )

        async def count(stream: faust.StreamT[Any]) -> None:
            async for _ in stream:
                meter.add(1)

        app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"))(count)
        worker = faust.Worker(app, loglevel="WARN", quiet=True, redirect_stdouts=False)
        worker.spinner = None
        worker.execute_from_commandline()


def main(kind: str, address: str, topic: str, group: str, count: str) -> None:
    """Count records of `topic` until there are `count`."""
    worker = {"chunks": _in_chunks, "plain": _plain}[kind]
    worker(address, topic, group, _Meter(int(count)))


if __name__ == "__main__":
    main(*sys.argv[1:])
