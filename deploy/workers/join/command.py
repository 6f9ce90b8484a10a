"""`clickloop worker join`: impressions and clicks in, labelled blocks out, until told to stop.

Kafka ── chunks ── agents ── JoinWorker ── a PartitionDriver for each (in threads) ── Kafka
                      │
                      └─ health, metrics, watchdog
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from deploy.compatibility import THIS, Version
from deploy.settings import Settings
from deploy.workers.health import Health
from deploy.workers.join.kafka_port import JoinTopics
from deploy.workers.join.metrics import JoinMetrics
from deploy.workers.join.partition_driver import Decode, DriverSettings
from deploy.workers.join.worker import JoinWorker
from deploy.workers.service import Connection, connection_of, supervise
from joiner import Joiner, JoinSettings, SamplingSettings
from joiner.protocol import PartitionConfig
from streams.arrow_batches import empty_batch
from streams.deadletter import Source
from streams.kafka import Decoder, Partition
from streams.kafka.consume import App, create_app, range_reader, run
from streams.record import RecordType
from streams.rules import RuleNumbers
from streams.spill import spill_of

THREADS = 2  # iterations of different partitions at a time; kernels and Arrow release the GIL
MOST_KEEPALIVE_S = 3600.0


@dataclass(frozen=True, slots=True)
class JoinConfig:
    """What a join worker reads and writes.

    topics, partitions: their names, and how many each has. max_skew: how far beyond the time its
    message was appended an event's `ts` may be, ms. older_skew: gives max_skew by the number of
    older defaults; None: it is the same.
    """

    connection: Connection
    topics: JoinTopics
    partitions: int
    max_skew: int
    older_skew: Callable[[int], int] | None = None


def config_of(settings: Settings, version: Version = THIS) -> JoinConfig:
    """The same from the settings. Raises ConfigError without its credentials."""
    topics = settings.topics
    return JoinConfig(
        connection_of(settings, "join"),
        JoinTopics(*topics.names),
        topics.partitions,
        topics.max_skew,
        older_skew=lambda defaults: version.settings(settings, defaults).topics.max_skew,
    )


def setup_of(settings: Settings, version: Version = THIS) -> PartitionConfig:
    """What the joiners of these settings have in common; a topic keeps its defaults."""

    def older(defaults: int) -> tuple[JoinSettings, SamplingSettings]:
        by_these = version.settings(settings, defaults)
        return by_these.join, by_these.sampling

    # A block's header travels in the same message.
    most = settings.topics.max_message_bytes * 3 // 4
    spill = spill_of(settings.spill)
    events, join, sampling = settings.events, settings.join, settings.sampling
    return PartitionConfig(
        events,
        join,
        sampling,
        max_message_bytes=most,
        spill=spill,
        rules=version.rules,
        older=older,
    )


def driver_settings_of(settings: Settings) -> DriverSettings:
    """When drivers do what. A cut is published at least every quarter of the retention."""
    worker = settings.worker
    keepalive = min(settings.topics.retention / 4000, MOST_KEEPALIVE_S)
    return DriverSettings(
        linger=worker.linger / 1000, idle_timeout=worker.idle_timeout / 1000, keepalive=keepalive
    )


def join_app(
    setup: PartitionConfig, config: JoinConfig, driving: DriverSettings
) -> tuple[App, JoinWorker]:
    """An app that joins the partitions it is given."""

    def decoders(partition: Partition) -> Decode:
        source: Source = "impressions" if partition.topic == config.topics.impressions else "clicks"
        record = RecordType(source, setup.schema)

        @cache
        def decoder(rules: RuleNumbers) -> Decoder:
            older = config.older_skew if rules.defaults != setup.rules.defaults else None
            skew = config.max_skew if older is None else older(rules.defaults)
            return Decoder(record, partition, config.partitions, skew, rules)

        return lambda messages, rules: decoder(rules).decode(messages.messages)

    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="clickloop-join")
    reach = config.connection
    connect = partial(range_reader, reach.clients)
    worker = JoinWorker(config.topics, setup, decoders, connect, executor, driving)
    app = create_app(reach.group, reach.brokers, worker, **reach.app)
    worker.attach(app)
    return app, worker


def warm(setup: PartitionConfig) -> None:
    """Compile the kernels before the worker joins its group.

    In the first run of a version that takes a minute, in which a member of the group would hold
    its partitions and do nothing.
    """
    schema = setup.schema
    joiner = Joiner(schema, setup.join, setup.sampling)
    joiner.process(
        empty_batch(schema.impressions), empty_batch(schema.clicks), np.empty(0, np.uint8)
    )
    for source in ("impressions", "clicks"):
        Decoder(RecordType(source, schema), Partition("none", 0), 1, 0).decode([])


def join(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT; ends the process, with 0 only if all went well."""
    setup, config = setup_of(settings), config_of(settings)
    warm(setup)
    app, worker = join_app(setup, config, driver_settings_of(settings))
    health = Health(settings.worker.join_http, worker.not_ready, JoinMetrics(worker).registry)
    supervise(app, health, worker.probe(), settings.worker.stuck_after)
    run(app)
