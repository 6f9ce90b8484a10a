"""`clickloop worker join`: impressions and clicks in, labelled blocks out, until told to stop.

Kafka ── chunks ── agents ── a Runner for each partition (turns in threads) ── Kafka
                      │
                      └─ health, metrics, watchdog
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from deploy.settings import Settings
from deploy.workers.health import Health
from deploy.workers.join.kafka_link import JoinTopics
from deploy.workers.join.metrics import JoinMetrics
from deploy.workers.join.partition_driver import Decode, Pace
from deploy.workers.join.worker import JoinWorker
from deploy.workers.watchdog import Watch, Watchdog
from joiner import Joiner
from joiner.protocol import Setup
from streams.arrow_batches import empty_batch
from streams.deadletter import Source
from streams.kafka import Decoder, Partition, client_options, faust_options
from streams.kafka.consume import App, create_app, range_reader, run
from streams.record import RecordType
from streams.rules import RuleNumbers
from streams.spill import spill_of

THREADS = 2  # turns of different partitions at a time; kernels and Arrow release the GIL
MOST_KEEPALIVE_S = 3600.0


@dataclass(frozen=True)
class Where:
    """What a join worker reads and writes.

    group: of its consumers. topics, partitions: their names, and how many each has. max_skew: how
    far beyond the time its message was appended an event's `ts` may be, ms. clients: options of
    aiokafka's clients, address and credentials; app: of the Faust app. older_skew: from the number
    of older defaults, max_skew by these; None: it is the same.
    """

    brokers: str
    group: str
    topics: JoinTopics
    partitions: int
    max_skew: int
    clients: Mapping[str, Any]
    app: Mapping[str, Any]
    older_skew: Callable[[int], int] | None = None


def where(settings: Settings) -> Where:
    """The same from the settings. Raises ConfigError without its credentials."""
    kafka, topics = settings.kafka, settings.topics
    return Where(
        brokers=kafka.bootstrap_servers,
        group=f"{kafka.group_prefix}-join",
        topics=JoinTopics(*topics.names),
        partitions=topics.partitions,
        max_skew=topics.max_skew,
        clients=client_options(kafka),
        app=faust_options(kafka),
    )


def setup_of(settings: Settings) -> Setup:
    """What the joiners of these settings have in common."""
    # A block's header travels in the same message.
    most = settings.topics.max_message_bytes * 3 // 4
    spill = spill_of(settings.spill)
    events, join, sampling = settings.events, settings.join, settings.sampling
    return Setup(events, join, sampling, max_message_bytes=most, spill=spill)


def pace_of(settings: Settings) -> Pace:
    """When the worker does what. A cut is published at least every quarter of the retention."""
    worker = settings.worker
    keepalive = min(settings.topics.retention / 4000, MOST_KEEPALIVE_S)
    return Pace(
        linger=worker.linger / 1000, idle_timeout=worker.idle_timeout / 1000, keepalive=keepalive
    )


def join_app(setup: Setup, where: Where, pace: Pace) -> tuple[App, JoinWorker]:
    """An app that joins the partitions it is given."""

    def decoders(partition: Partition) -> Decode:
        source: Source = "impressions" if partition.topic == where.topics.impressions else "clicks"
        record = RecordType(source, setup.schema)

        @cache
        def decoder(rules: RuleNumbers) -> Decoder:
            older = where.older_skew if rules.defaults != setup.rules.defaults else None
            skew = where.max_skew if older is None else older(rules.defaults)
            return Decoder(record, partition, where.partitions, skew, rules)

        return lambda messages, rules: decoder(rules).decode(messages.messages)

    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="clickloop-join")
    connect = partial(range_reader, where.clients)
    worker = JoinWorker(where.topics, setup, decoders, connect, executor, pace)
    app = create_app(where.group, where.brokers, worker, **where.app)
    worker.attach(app)
    return app, worker


def warm(setup: Setup) -> None:
    """Compile the kernels now: the first run of a version takes a minute, in which a member of
    the group would hold its partitions and do nothing."""
    schema = setup.schema
    joiner = Joiner(schema, setup.join, setup.sampling)
    joiner.process(
        empty_batch(schema.impressions), empty_batch(schema.clicks), np.empty(0, np.uint8)
    )
    for source in ("impressions", "clicks"):
        Decoder(RecordType(source, schema), Partition("none", 0), 1, 0).decode([])


def join(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT; ends the process, with 0 only if all went well."""
    setup, at = setup_of(settings), where(settings)
    warm(setup)
    app, worker = join_app(setup, at, pace_of(settings))
    metrics = JoinMetrics(worker)
    health = Health(settings.worker.join_http, worker.not_ready, metrics.registry)
    watch = Watch(
        "there are messages to join, and none was read",
        lambda: worker.pending,
        lambda: worker.processed,
    )
    app.companions = (health, Watchdog(settings.worker.stuck_after, [watch]))
    print(f"clickloop: health and metrics at http://{health.address}", flush=True)
    run(app)
