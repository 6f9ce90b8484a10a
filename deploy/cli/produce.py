"""`clickloop produce`: the rows of log files, published to their topic."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from deploy.settings import Settings
from streams.deadletter import DeadLetterWriter, Source
from streams.files import OFF, open_log
from streams.kafka import Format
from streams.kafka.produce import ClickProducer, EventProducer, ImpressionProducer, ProducerSettings

_TICK_S = 0.05  # seconds between two sends at a given rate, at most


@dataclass(frozen=True, slots=True)
class Produced:
    """What was published. rejected: rows that were not, by reason; they are in `letters`."""

    topic: str
    rows: int
    seconds: float
    rejected: Counter[str]
    letters: Path

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "topic": self.topic,
            "rows": self.rows,
            "seconds": self.seconds,
            "rejected": dict(self.rejected),
            "letters": str(self.letters) if self.rejected else None,
        }


def produce(
    settings: Settings,
    source: Source,
    path: str,
    *,
    form: Format = "json",
    rate: float | None = None,
    letters: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Produced:
    """Publish the log at `path` in its order, `rate` rows a second (None: flat out).

    letters: a new file for rows that cannot be read; default `<source>.dead-letter.ndjson` in the
    working directory. progress: called with bytes read and in all. stop: called often; True ends
    the run, with all rows read so far delivered. Raises DataError where the log is unreadable,
    DeliveryError, ClickloopError without Kafka.
    """
    topics = settings.topics
    topic = topics.impressions if source == "impressions" else topics.clicks
    log = open_log(path, settings.events, source, guard=OFF)
    letters = letters or Path(f"{source}.dead-letter.ndjson")
    kind = ImpressionProducer if source == "impressions" else ClickProducer
    tuned = ProducerSettings(message_bytes=topics.max_message_bytes)
    rejected: Counter[str] = Counter()
    rows = 0
    with kind(topic, settings.events, settings.kafka, tuned) as producer:
        started = time.monotonic()
        limiter = _RateLimiter(producer, form, rate, stop)
        with DeadLetterWriter(letters) as dead:
            for chunk in log:
                rows += limiter.send(chunk.rows)
                dead.write(chunk.rejected)
                rejected.update(letter.reason for letter in chunk.rejected)
                if progress is not None:
                    progress(log.bytes_read, log.bytes_total)
                if stop():
                    break
        producer.flush()
        seconds = time.monotonic() - started
    if not rejected:
        letters.unlink()
    return Produced(topic, rows, seconds, rejected, letters)


class _RateLimiter:
    """Sends rows at a rate, or as fast as they go."""

    def __init__(
        self, producer: EventProducer, form: Format, rate: float | None, stop: Callable[[], bool]
    ) -> None:
        self._producer = producer
        self._as_json = form == "json"
        self._rate = rate
        self._stop = stop
        self._started = time.monotonic()
        self._sent = 0

    def send(self, rows: pa.RecordBatch) -> int:
        """Send the rows, fewer only if it is to stop; returns how many."""
        done = 0
        while done < len(rows) and not self._stop():
            due = len(rows) - done
            if self._rate is not None:
                due = min(due, int((time.monotonic() - self._started) * self._rate) - self._sent)
            if due > 0:
                self._producer.send_rows(rows.slice(done, due), as_json=self._as_json)
                done += due
                self._sent += due
            elif self._rate is not None:
                time.sleep(min(_TICK_S, 1 / self._rate))
        return done
