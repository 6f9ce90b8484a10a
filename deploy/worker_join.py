"""The join worker, assembled: topics in, labelled blocks out, until it is told to stop."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from joiner.agent import JoinTopics, JoinWorker
from joiner.partition import Setup
from joiner.runner import Decode, Pace
from streams.deadletter import Source
from streams.kafka.app import App, create_app
from streams.kafka.chunk import Partition
from streams.kafka.codec import Decoder
from streams.kafka.ranges import range_reader
from streams.record import Record

THREADS = 2  # turns of different partitions at a time; kernels and Arrow release the GIL


def join_app(
    setup: Setup,
    topics: JoinTopics,
    *,
    brokers: str,
    group: str,
    partitions: int,
    max_skew: int,
    pace: Pace,
    **more: Any,
) -> tuple[App, JoinWorker]:
    """An app that joins the partitions it is given.

    partitions: of each topic. max_skew: how far beyond the time its message was appended an event's
    `ts` may be, ms. more: for `create_app`.
    """

    def decoders(partition: Partition) -> Decode:
        source: Source = "impressions" if partition.topic == topics.impressions else "clicks"
        record = Record(source, setup.schema)
        decoder = Decoder(record, partition, partitions, max_skew)
        return lambda messages: decoder.decode(messages.records)

    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="join")
    connect = partial(range_reader, brokers)
    worker = JoinWorker(topics, setup, decoders, connect, executor, pace)
    app = create_app(group, brokers, worker, **more)
    worker.attach(app)
    return app, worker
