"""The Faust app of a worker, with settings that are safe for the transport."""

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import faust
from aiokafka.errors import KafkaConnectionError, KafkaError
from faust.transport.drivers import TRANSPORTS

from streams.errors import ClickloopError, explained
from streams.kafka.chunk import MessageChunk, Partition
from streams.kafka.consume.assignment import Owner
from streams.kafka.consume.exclusive_assignor import ExclusiveAssignor
from streams.kafka.consume.transport import Consumer

SCHEME = "clickloop"
# How long stopping may take, in seconds: a last commit, leaving the group.
STOP_S = 8.0
METADATA_AGE_MS = 10_000
# Records come in hundreds of thousands and go soon, none of them in a cycle: with Python's own
# thresholds, looking through them for cycles takes as long as reading them.
_COLLECT = 200_000, 20, 20
# Installed, the transport is found by its entry point; this is for a source tree that is not.
TRANSPORTS.aliases.setdefault(SCHEME, "streams.kafka.consume.transport:Transport")


class ChunkSchema(faust.Schema[Any, Any]):
    """Hands the transport's chunks through as they are."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:
        """A chunk has no key."""

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:  # noqa: ARG002 Faust's signature
        """The chunk."""
        return message.value


class Companion(Protocol):
    """Something that runs beside an app for as long as it lives."""

    async def start(self) -> None:
        """Called before the app talks to Kafka."""

    async def stop(self) -> None:
        """Called when the app no longer does."""


class App(faust.App):
    """A Faust app whose partitions have an owner."""

    owner: Owner
    companions: Sequence[Companion] = ()
    # What to do if stopping takes longer than STOP_S: Faust waits for a broker's answers for
    # minutes, also when it is told to stop.
    give_up: Callable[[], None] | None = None

    @property
    def edge(self) -> Consumer:
        """The consumer: commits, holds, offsets of the log."""
        return cast(Consumer, self.consumer)

    def chunk_topic(self, name: str) -> faust.TopicT:
        """A topic to read in chunks."""
        return self.topic(name, schema=ChunkSchema(), acks=False)

    def _create_directories(self) -> None:
        """Make none: Faust would leave empty folders where the worker was started."""

    async def on_start(self) -> None:
        """Start, the companions first."""
        for each in self.companions:
            await each.start()
        await super().on_start()

    async def on_shutdown(self) -> None:
        """Stop the companions last."""
        await super().on_shutdown()
        for each in self.companions:
            await each.stop()

    async def on_stop(self) -> None:
        """Stop, within a limited time."""
        if self.give_up is not None:
            timer = threading.Timer(STOP_S, self.give_up)
            timer.daemon = True
            timer.start()
        await super().on_stop()

    async def send_to(
        self, to: Partition, value: bytes, headers: Mapping[str, bytes]
    ) -> "asyncio.Future[int]":
        """Append a message to a partition, after those sent to it before: its offset to come.

        The future fails with a KafkaError if the broker refused it or did not answer.
        """
        sent = await self.producer.send(to.topic, None, value, to.number, None, dict(headers))
        return asyncio.ensure_future(_offset(sent))


def create_app(
    group: str,
    brokers: str,
    owner: Owner,
    *,
    session_timeout: float = 10.0,
    commit_interval: float = 1.0,
    chunk_records: int = 10_000,
    fetch_bytes: int = 4 << 20,
    request_bytes: int = 16 << 20,
    exclusive: bool = False,
    **more: Any,
) -> App:
    """An app in consumer group `group` at `brokers` (`host:port`, separated by commas).

    A worker that died is noticed after `session_timeout` seconds; offsets are committed every
    `commit_interval` seconds. A chunk has up to `chunk_records` records and, for each partition,
    at most what one fetch of `fetch_bytes` brings; a message to send has up to `request_bytes`.
    If `exclusive`, a single member of the group has all partitions, and the others stand by.
    `more` are further settings of Faust: credentials, and what a test needs.
    """
    if exclusive:
        more["PartitionAssignor"] = ExclusiveAssignor
    app = App(
        group,
        broker=";".join(f"{SCHEME}://{each.strip()}" for each in brokers.split(",")),
        autodiscover=False,
        # Faust's own topics and HTTP server are not wanted.
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        # 0 would take an assignor that does not keep equal partition numbers together.
        table_standby_replicas=1,
        # The default waits for messages that nobody acknowledges.
        stream_wait_empty=False,
        # Counted in chunks.
        stream_buffer_maxsize=16,
        # The default would restart an agent that failed, and go on after the chunk it failed on.
        agent_supervisor="mode.CrashingSupervisor",
        broker_session_timeout=session_timeout,
        broker_heartbeat_interval=session_timeout / 4,
        broker_commit_interval=commit_interval,
        broker_max_poll_records=chunk_records,
        consumer_max_fetch_size=fetch_bytes,
        # A broker that has just started may say that a topic is not there; by default that would be
        # believed for five minutes.
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        # Where the log no longer holds a position, `GapDetector` sees the jump.
        consumer_auto_offset_reset="earliest",
        producer_max_request_size=request_bytes,
        producer_request_timeout=60.0,
        **more,
    )
    app.owner = owner
    app.on_before_shutdown.connect(cast(Any, _leave), weak=False)
    return app


async def _offset(sent: Awaitable[Any]) -> int:
    return int((await sent).offset)


async def _leave(app: App, **_: Any) -> None:
    if app._consumer is not None:
        await app.edge.leave()


async def chunks(stream: faust.StreamT[Any]) -> AsyncIterator[MessageChunk]:
    """The chunks of an agent on `chunk_topic`s: every offset of each partition once, in order.

    After a rebalance the chunks begin again where the owner says. Raises GapError if records are
    missing.
    """
    edge = cast(App, stream.app).edge
    async for event in cast(Any, stream).noack().events():
        new = edge.take(event.value)
        if new is not None:
            yield new


def run(app: App, loglevel: int = logging.WARNING) -> None:
    """Run the worker until SIGTERM or SIGINT; then ends the process, with 0.

    Raises the ClickloopError that made the worker stop, if an operator can act on it.
    """
    app.give_up = _give_up
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    worker = faust.Worker(app, loglevel=loglevel, quiet=True, redirect_stdouts=False)
    worker.spinner = None
    reason = _Reason()
    for name in (__name__, "faust.worker", "mode.worker"):
        logging.getLogger(name).addFilter(reason)
    try:
        worker.execute_from_commandline()
    except SystemExit:
        if reason.error is None:
            raise
        raise reason.error from None


class _Reason(logging.Filter):
    """Catches why a worker stopped: Faust only logs the error, with a traceback, and exits."""

    error: ClickloopError | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the reason, in place of the traceback."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, KafkaConnectionError):
            self.error = ClickloopError(f"{error}; is Kafka there, and [kafka] right?")
        elif isinstance(error, KafkaError):
            self.error = ClickloopError(
                f"Kafka: {error!r}; what was not acknowledged is done again"
            )
        elif isinstance(error, ClickloopError):
            self.error = error
        elif isinstance(error, OSError):
            self.error = ClickloopError(explained(error))
        else:
            return True
        return False


def _give_up() -> None:
    print(
        f"clickloop: Kafka did not answer for {STOP_S:g} s: stopped without a last commit; some "
        "records will be read again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(ClickloopError.exit_code)
