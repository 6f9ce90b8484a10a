"""`clickloop bench ingest`: records from Kafka through the transport, and through plain Faust.

A topic is filled with single JSON events. Then workers that only count read it, in chunks and as
plain Faust agents in turn, each in a process of its own; the medians of the rounds are compared.
"""

import json
import statistics
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from deploy.bench.figures import circumstances, figure
from deploy.console import err
from streams.errors import ClickloopError, ConfigError

TARGET_RATIO = 25.0
PARTITIONS = 4
EVENT_BYTES = 350
TIMEOUT_S = 300


def run(broker: str | None, records: int, plain_records: int, rounds: int) -> dict[str, Any]:
    """Measure at `broker`, an address; the document `bench` prints.

    Raises ConfigError without a broker, ClickloopError if it cannot be reached.
    """
    if not broker:
        raise ConfigError(
            "no Kafka to measure with; `make kafka` starts one and prints its address: give it "
            "with --broker, or set CLICKLOOP_TEST_KAFKA"
        )
    rates: dict[str, list[float]] = {"chunks": [], "plain": []}
    with _filled_topic(broker, records) as topic:
        for number in range(1, rounds + 1):
            for kind, count in (("chunks", records), ("plain", min(records, plain_records))):
                err.print(f"measuring, round {number} of {rounds}: {kind}")
                rates[kind].append(_rate(kind, broker, topic, count))
    chunks, plain = (statistics.median(rates[kind]) for kind in ("chunks", "plain"))
    ratio = chunks / plain
    return {
        **circumstances("ingest", "faust-streaming", "aiokafka"),
        "sizes": {
            "records": records,
            "plain_records": min(records, plain_records),
            "rounds": rounds,
            "event_bytes": EVENT_BYTES,
            "partitions": PARTITIONS,
        },
        "figures": [
            figure("chunks_records_per_s", chunks, "1/s", None),
            figure("plain_faust_records_per_s", plain, "1/s", None),
            figure("ratio_plain_faust", ratio, "", TARGET_RATIO),
        ],
    }


@contextmanager
def _filled_topic(broker: str, records: int) -> Iterator[str]:
    """A topic of its own with `records` events, deleted afterwards."""
    name = f"clickloop-bench-ingest-{uuid.uuid4().hex[:8]}"
    try:
        admin = KafkaAdminClient(bootstrap_servers=broker, bootstrap_timeout_ms=5_000)
        admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    except KafkaError as error:
        raise ClickloopError(f"{broker}: no topic can be made there ({error})") from error
    try:
        _fill(broker, name, records)
        yield name
    finally:
        admin.delete_topics([name])
        admin.close()


def _fill(broker: str, topic: str, records: int) -> None:
    err.print(f"filling a topic with {records:,} events")
    producer = KafkaProducer(bootstrap_servers=broker, linger_ms=20, batch_size=256 * 1024)
    sent = [
        producer.send(topic, _event(number), partition=number % PARTITIONS)
        for number in range(records)
    ]
    producer.flush()
    failed = next((future for future in sent if not future.succeeded()), None)
    producer.close()
    if failed is not None:
        raise ClickloopError(f"{broker}: an event could not be sent ({failed.exception})")


def _event(number: int) -> bytes:
    """An impression as single JSON events look, of EVENT_BYTES bytes."""
    event = {
        "impression_id": f"{number:032x}",
        "ts": 1_700_000_000_000 + number,
        "features": {
            "ad_id": f"ad-{number % 3000}",
            "advertiser": f"advertiser-{number % 200}",
            "publisher": f"publisher-{number % 300}",
            "user": f"user-{number % 50_000}",
            "country": "NL",
            "device": "phone",
            "hour": number % 24,
            "price": number % 997 / 10,
        },
        "position": number % 4,
        "model_version": "2026-01-01",
    }
    text = json.dumps(event, separators=(",", ":")).encode()
    return text[:-1] + b" " * (EVENT_BYTES - len(text)) + text[-1:]


def _rate(kind: str, broker: str, topic: str, count: int) -> float:
    """Records a second, by a worker in a process of its own and a group of its own."""
    group = f"clickloop-bench-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-m", "deploy.bench.ingest_worker"]
    command += [kind, broker, topic, group, str(count)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
        return float(json.loads(done.stdout.splitlines()[0])["per_s"])
    except (subprocess.SubprocessError, IndexError, ValueError) as error:
        stderr = getattr(error, "stderr", None) or ""
        raise ClickloopError(f"a worker ({kind}) did not measure: {error}\n{stderr}") from error
