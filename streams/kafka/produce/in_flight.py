"""Messages in flight: how many bytes may be, and which messages did not arrive."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import TopicPartition
from pydantic import BaseModel, Field

from streams.errors import ClickloopError
from streams.kafka.client_errors import translated_errors
from streams.kafka.produce.record_batch import append_batch, encoded_records, runs
from streams.kafka.security import client_options
from streams.kafka.settings import KafkaSettings

OVERHEAD = 256  # bytes of a message beside its value, generously
_SHOWN = 5  # failures that an error names


class ProducerSettings(BaseModel, frozen=True, extra="forbid"):
    """How long and how much a producer may gather, hold and wait."""

    linger: float = Field(
        default=0.02,
        ge=0,
        description="How long a message may wait for others to be sent with. Seconds, 0 or more.",
    )
    request_bytes: int = Field(
        default=256 << 10,
        ge=1,
        description="Messages of a partition that are sent together, at most. Bytes, 1 or more.",
    )
    message_bytes: int = Field(
        default=1 << 20,
        ge=1 << 10,
        description="The greatest message; batches are divided. Bytes; at most what the topic "
        "takes (max.message.bytes).",
    )
    batch_rows: int = Field(
        default=8192,
        ge=1,
        description="The most rows of a message in Arrow. Rows, 1 or more.",
    )
    buffer_bytes: int = Field(
        default=32 << 20,
        ge=1,
        description="Messages not yet acknowledged, at most; a call waits for room. Bytes, 1 or "
        "more.",
    )
    max_block: float = Field(
        default=60.0,
        gt=0,
        description="How long a call waits for room, or for the brokers to say what partitions "
        "there are. Seconds, more than 0.",
    )
    delivery_timeout: float = Field(
        default=120.0,
        gt=0,
        description="A message that the brokers have not acknowledged after so long has failed. "
        "Seconds, more than 0.",
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that was not delivered. first_id: of the first row; rows: how many it holds."""

    topic: str
    partition: int
    first_id: str
    rows: int
    reason: str

    def __str__(self) -> str:
        more = f" and {self.rows - 1} more" if self.rows > 1 else ""
        return f"{self.topic}-{self.partition}: {self.first_id}{more}: {self.reason}"


class Outgoing(NamedTuple):
    """A message to send. first_id: of the first row; rows: how many it holds; both for errors."""

    value: bytes
    partition: int
    first_id: str
    rows: int
    key: bytes | None


class InFlight(NamedTuple):
    """Rows handed to the client and not known to be delivered.

    future: done when the brokers acknowledged or refused them. size: bytes, overhead included.
    """

    future: Any
    partition: int
    first_id: str
    rows: int
    size: int


class DeliveryError(ClickloopError):
    """Messages that were not delivered, or perhaps were: the brokers did not say.

    failures: all that became known since the last call. Later messages are still in flight.
    """

    def __init__(self, failures: tuple[Failure, ...]) -> None:
        shown = [f"  {failure}" for failure in failures[:_SHOWN]]
        if len(failures) > _SHOWN:
            shown.append(f"  and {len(failures) - _SHOWN} more")
        super().__init__(
            "\n".join([f"{len(failures)} messages were not delivered; send them again:", *shown])
        )
        self.failures = failures


class InFlightBuffer:
    """Sends messages to one topic with bounded memory, and remembers what failed.

    partitions: of the topic. Threads may share it.
    """

    def __init__(self, topic: str, kafka: KafkaSettings, settings: ProducerSettings) -> None:
        """Raises ConfigError for credentials, ClickloopError without a broker or the topic."""
        self.topic = topic
        self._settings = settings
        self._lock = threading.RLock()
        self._in_flight: deque[InFlight] = deque()
        self._bytes = 0
        self._failures: list[Failure] = []
        self._kafka = kafka
        self._renew = False
        self._connect()

    def _connect(self) -> None:
        where, topic = self._kafka.bootstrap_servers, self.topic
        with translated_errors(where):
            self._client = KafkaProducer(**client_options(self._kafka), **_client(self._settings))
        try:
            self.partitions = len(self._client.partitions_for(topic) or ())
        except KafkaError as error:
            self._client.close(timeout=0)
            raise ClickloopError(
                f"{where}: topic {topic}: {error or type(error).__name__}; is it there (`clickloop "
                "topics check`), and may this client write to it?"
            ) from error
        if not self.partitions:
            self._client.close(timeout=0)
            raise ClickloopError(f"{where}: no topic {topic}; `clickloop topics create` makes it")

    def send(self, messages: Iterable[Outgoing], headers: list[tuple[str, bytes]]) -> None:
        """Send messages; returns before they are delivered.

        Waits while too much is in flight; raises ClickloopError if that takes too long.
        """
        with self._lock:
            in_flight, limit = self._in_flight, self._settings.buffer_bytes
            for value, partition, first_id, rows, key in messages:
                if in_flight and in_flight[0].future.is_done:
                    self._settle()
                if self._renew:
                    self._reconnect()
                size = len(value) + OVERHEAD
                self._bytes += size
                if self._bytes > limit:
                    self._make_room(size)
                try:
                    future = self._client.send(self.topic, value, key, headers, partition)
                except KafkaError as error:
                    self._bytes -= size
                    self._fail(partition, first_id, rows, error)
                else:
                    in_flight.append(InFlight(future, partition, first_id, rows, size))

    def send_each(self, keys: pa.Array, values: pa.Array, partition: int) -> None:
        """Send each of many values as a message of its own, to one partition; as `send` does.

        keys: ids (strings); values: binaries.
        """
        for first, last in runs(keys, values, self._settings.request_bytes):
            run = keys.slice(first, last - first)
            records = encoded_records(run, values.slice(first, last - first))
            with self._lock:
                self._settle()
                if self._renew:
                    self._reconnect()
                self._bytes += len(records)
                if self._bytes > self._settings.buffer_bytes:
                    self._make_room(len(records))
                tp = TopicPartition(self.topic, partition)
                future = _Batch(append_batch(self._client, tp, records, len(run)))
                self._in_flight.append(
                    InFlight(future, partition, run[0].as_py(), len(run), len(records))
                )

    def flush(self) -> None:
        """Wait until all is delivered; what takes too long has failed. Raises DeliveryError."""
        with self._lock:
            self._finish()
        self.raise_failures()

    def close(self) -> None:
        """Deliver everything, then disconnect. Raises DeliveryError; again, it is harmless."""
        try:
            self.flush()
        finally:
            self._client.close(timeout=0)

    def _reconnect(self) -> None:
        """Go on after a failure, some of which end an idempotent client for good."""
        self._finish()
        self._client.close(timeout=0)
        self._connect()
        self._renew = False

    def _finish(self) -> None:
        """Wait until every message is delivered or failed; one that takes too long failed."""
        try:
            self._client.flush(timeout=self._settings.delivery_timeout)
        except KafkaError as error:
            self._give_up(str(error) or type(error).__name__)
        self._settle()

    def _make_room(self, size: int) -> None:
        """Wait until the newest `size` bytes fit. Raises ClickloopError if that takes too long."""
        self._settle()
        while self._bytes > self._settings.buffer_bytes and self._in_flight:
            future = self._in_flight[0].future
            try:
                future.get(timeout=self._settings.max_block)
            except KafkaError as error:
                if not future.is_done:
                    self._bytes -= size
                    raise ClickloopError(
                        f"{self.topic}: nothing was acknowledged for {self._settings.max_block:g} s"
                        f", and {self._bytes} bytes wait already; is a broker down, or too slow?"
                    ) from error
            self._settle()

    def _settle(self) -> None:
        """Forget the oldest messages that are delivered; note those that failed."""
        while self._in_flight and self._in_flight[0].future.is_done:
            oldest = self._in_flight.popleft()
            self._bytes -= oldest.size
            if oldest.future.failed():
                self._fail(oldest.partition, oldest.first_id, oldest.rows, oldest.future.exception)

    def _give_up(self, reason: str) -> None:
        """Everything that is not acknowledged yet has failed."""
        self._settle()
        for future, partition, first_id, rows, _ in self._in_flight:
            error = future.exception if future.is_done and future.failed() else None
            if error is not None or not future.is_done:
                self._fail(partition, first_id, rows, error or reason)
        self._in_flight.clear()
        self._bytes = 0

    def _fail(self, partition: int, first_id: str, rows: int, error: object) -> None:
        self._renew = True
        reason = " ".join(str(error).split()) or type(error).__name__
        self._failures.append(Failure(self.topic, partition, first_id, rows, reason))

    def raise_failures(self) -> None:
        """Raise DeliveryError for what is known to have failed since the last time."""
        with self._lock:
            self._settle()
            if self._failures:
                failures, self._failures = tuple(self._failures), []
                raise DeliveryError(failures)


class _Batch:
    """The future of a batch, with the methods that the future of a message has."""

    def __init__(self, future: Any) -> None:
        self._future = future

    @property
    def is_done(self) -> bool:
        return bool(self._future.is_done)

    @property
    def exception(self) -> Exception | None:
        if not self._future.is_done:
            return None
        _, _, errors = self._future.value
        return None if errors is None else errors(0)

    def failed(self) -> bool:
        return self.exception is not None

    def get(self, timeout: float) -> None:
        """Wait. Raises KafkaTimeoutError."""
        if not self._future.wait(timeout):
            raise KafkaTimeoutError(f"not acknowledged for {timeout:g} s")


def _client(settings: ProducerSettings) -> dict[str, Any]:
    return {
        "acks": "all",
        "enable_idempotence": True,
        "allow_auto_create_topics": False,
        "linger_ms": round(1000 * settings.linger),
        "batch_size": settings.request_bytes,
        "max_request_size": max(settings.message_bytes, settings.request_bytes) + OVERHEAD,
        "max_block_ms": round(1000 * settings.max_block),
        "delivery_timeout_ms": round(1000 * settings.delivery_timeout),
        "request_timeout_ms": round(1000 * min(30.0, settings.delivery_timeout / 2)),
        "bootstrap_timeout_ms": round(1000 * min(30.0, settings.max_block)),
    }
