"""What the transport reaches into. An upgrade that moves any of it fails here, by name."""

import inspect
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import (
    Assignment,
    SubscriptionState,
    TopicPartitionState,
)
from aiokafka.errors import ConsumerStoppedError
from aiokafka.record.default_records import DefaultRecord
from aiokafka.record.legacy_records import LegacyRecord
from faust.assignor.partition_assignor import PartitionAssignor
from faust.serializers.schemas import Schema
from faust.transport import consumer as base
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.threads import QueueServiceThread
from mode.worker import Worker as ModeWorker

from streams.kafka.chunk import Partition
from streams.kafka.consume.app import SCHEME, create_app
from streams.kafka.consume.transport import Transport
from tests import ROOT

PINNED = ("aiokafka", "faust-streaming", "mode-streaming")

# Overridden by us: who calls them, and with what.
OVERRIDDEN: list[tuple[Callable[..., Any], list[str]]] = [
    (driver.Consumer._new_consumer_thread, ["self"]),
    (driver.Consumer._to_message, ["self", "tp", "record"]),
    (driver.Consumer.verify_event_path, ["self", "now", "tp"]),
    (base.Consumer.on_partitions_revoked, ["self", "revoked"]),
    (base.Consumer.perform_seek, ["self"]),
    (base.Consumer.on_buffer_drop, ["self", "tp"]),
    (base.Consumer._add_gap, ["self", "tp", "offset_from", "offset_to"]),
    (base.Consumer._wait_next_records, ["self", "timeout"]),
    (base.Consumer._filter_tps_with_pending_acks, ["self", "topics"]),
    (base.Consumer._new_offset, ["self", "tp"]),
    (base.Consumer._should_commit, ["self", "tp", "offset"]),
    (base.Consumer._commit_offsets, ["self", "offsets", "start_new_transaction"]),
    (
        driver.AIOKafkaConsumerThread._fetch_records,
        ["self", "consumer", "active_partitions", "timeout", "max_records"],
    ),
    (PartitionRecords._consumer_record, ["self", "tp", "record"]),
    (driver.Producer._settings_extra, ["self"]),
    (Schema.loads_key, ["self", "app", "message", "loads", "serializer"]),
    (Schema.loads_value, ["self", "app", "message", "loads", "serializer"]),
    (faust.App.on_start, ["self"]),
    (faust.App.on_stop, ["self"]),
    (faust.App.on_shutdown, ["self"]),
    (PartitionAssignor._perform_assignment, ["self", "cluster", "member_metadata"]),
    (faust.App._create_directories, ["self"]),
]

# Called by us.
CALLED: list[tuple[Callable[..., Any], list[str]]] = [
    (PartitionAssignor._get_client_metadata, ["metadata"]),
    (PartitionAssignor._update_member_urls, ["self", "clients_metadata"]),
    (PartitionAssignor._get_changelog_distribution, ["self", "assignments"]),
    (PartitionAssignor._get_external_topic_distribution, ["self", "assignments"]),
    (
        PartitionAssignor._protocol_assignments,
        ["self", "assignments", "cl_distribution", "tp_distribution", "topic_groups"],
    ),
    (AIOKafkaConsumer.partitions_for_topic, ["self", "topic"]),
    (base.Consumer._get_active_partitions, ["self"]),
    (base.Consumer.stop_flow, ["self"]),
    (base.Consumer.commit, ["self", "topics", "start_new_transaction"]),
    (base.Consumer.maybe_wait_for_commit_to_finish, ["self"]),
    (base.ThreadDelegateConsumer._getmany, ["self", "active_partitions", "timeout"]),
    (base.ThreadDelegateConsumer.assignment, ["self"]),
    (base.ThreadDelegateConsumer.earliest_offsets, ["self", "partitions"]),
    (base.ThreadDelegateConsumer.highwaters, ["self", "partitions"]),
    (base.ThreadDelegateConsumer.highwater, ["self", "tp"]),
    (driver.AIOKafkaConsumerThread._ensure_consumer, ["self"]),
    (QueueServiceThread.call_thread, ["self", "fun", "args", "kwargs"]),
    (AIOKafkaConsumer.seek, ["self", "partition", "offset"]),
    (AIOKafkaConsumer.committed, ["self", "partition"]),
    (Fetcher.fetched_records, ["self", "partitions", "timeout", "max_records"]),
    (Fetcher._create_fetch_waiter, ["self"]),
    (SubscriptionState.fetch_context, ["self"]),
    (Assignment.state_value, ["self", "tp"]),
]


@pytest.mark.parametrize(
    ("function", "parameters"), OVERRIDDEN + CALLED, ids=lambda x: getattr(x, "__qualname__", "")
)
def test_function_is_there_with_its_parameters(
    function: Callable[..., Any], parameters: list[str]
) -> None:
    assert list(inspect.signature(function).parameters) == parameters


def source(function: Callable[..., Any]) -> str:
    return inspect.getsource(function)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        # getmany hands on what _wait_next_records returns, and filters nothing without partitions.
        (base.Consumer.getmany, "records, active_partitions = await self._wait_next_records("),
        (base.Consumer.getmany, "if records is None or self.should_stop:"),
        (base.Consumer.getmany, "active_partitions is None"),
        (base.Consumer.getmany, "yield tp, to_message(tp, record)"),
        # A partition with a read offset would have repeated chunks dropped.
        (base.Consumer._drain_messages, "if r_offset is None or offset >= r_offset:"),
        # Commits take our offsets, wait for what was sent, and swallow no exception of ours.
        (base.Consumer.force_commit, "self._filter_tps_with_pending_acks(topics)"),
        (base.Consumer._filter_committable_offsets, "self._new_offset(tp)"),
        (base.Consumer._filter_committable_offsets, "self._should_commit(tp, offset)"),
        (base.Consumer._commit_offsets, "await self.app.producer.flush()"),
        # The thread's getmany is what calls our _fetch_records.
        (driver.AIOKafkaConsumerThread.getmany, "self._fetch_records,"),
        (driver.AIOKafkaConsumerThread._create_worker_consumer, "table_standby_replicas > 0"),
        (driver.Producer._new_producer, "**self._settings_extra()"),
        # fetched_records without a timeout does not suspend once partitions are assigned.
        (Fetcher.fetched_records, "if self._subscriptions.reassignment_in_progress:"),
        (Fetcher.fetched_records, "if drained or not timeout:"),
        # What was fetched is handed out one by one, through a method that can be replaced.
        (Fetcher.fetched_records, "records = res_or_error.getall(max_records)"),
        (FetchResult.getall, "for msg in self._partition_records:"),
        (PartitionRecords._unpack_records, "consumer_record = self._consumer_record(tp, record)"),
        (faust.App._on_partitions_revoked, "consumer.stop_flow"),
        (faust.App._on_partitions_revoked, "self.flow_control.clear"),
        (faust.App.on_stop, "await self.on_before_shutdown.send()"),
        (faust.App._new_transport, "transport.by_url("),
        (ModeWorker.execute_from_commandline, "self.stop_and_shutdown()"),
    ],
)
def test_function_still_does_what_we_count_on(function: Callable[..., Any], says: str) -> None:
    assert says in source(function)


@pytest.mark.parametrize(
    ("where", "attribute"),
    [
        (AIOKafkaConsumer.__init__, "self._fetcher"),
        (AIOKafkaConsumer.__init__, "self._closed"),
        (Fetcher.__init__, "self._subscriptions"),
        (Fetcher.__init__, "self._closed"),
        (Fetcher.__init__, "self._records"),
        (FetchResult.__init__, "self._partition_records"),
        (base.Consumer.__init__, "self._read_offset"),
        (base.Consumer.__init__, "self.can_resume_flow"),
    ],
)
def test_attribute_is_there(where: Callable[..., Any], attribute: str) -> None:
    assert f"{attribute} " in source(where) or f"{attribute}:" in source(where)


def test_properties_are_there() -> None:
    assert isinstance(SubscriptionState.reassignment_in_progress, property)
    assert isinstance(SubscriptionState.subscription, property)
    assert isinstance(TopicPartitionState.position, property)
    assert isinstance(TopicPartitionState.has_valid_position, property)
    assert isinstance(Assignment.tps, property)
    assert base.Consumer.flow_active is True
    assert faust.App._consumer is None
    assert issubclass(ConsumerStoppedError, Exception)
    assert (
        driver.AIOKafkaConsumerThread in driver.Consumer._new_consumer_thread.__globals__.values()
    )


@pytest.mark.parametrize("record", [DefaultRecord, LegacyRecord])
def test_a_record_as_the_parser_makes_it_has_what_we_read(record: type) -> None:
    for name in ("offset", "timestamp", "key", "value", "headers"):
        assert hasattr(record, name)


def test_partitions_of_all_three_are_equal() -> None:
    assert len({*[Partition("t", 1)], *[TP("t", 1)], *[TopicPartition("t", 1)]}) == 1


def test_a_message_can_carry_a_chunk() -> None:
    names = list(inspect.signature(ConsumerMessage).parameters)
    assert {"topic", "partition", "offset", "value", "tp", "generation_id"} <= set(names)


def test_installed_versions_are_the_pinned_ones() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    for name in PINNED:
        assert f"{name}=={version(name)}" in project["dependencies"]


def test_the_transport_is_registered() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    points = tomllib.loads(text)["project"]["entry-points"]["faust.transports"]
    assert points == {SCHEME: f"{Transport.__module__}:Transport"}
    assert TRANSPORTS.by_url("clickloop://127.0.0.1:9092") is Transport


class Nobody:
    """An owner that is never asked."""

    on_assigned: Any = None
    on_revoked: Any = None


def test_an_app_has_safe_settings() -> None:
    app = create_app("group", "one:9092, two:9093", Nobody())
    assert [str(url) for url in app.conf.broker] == ["clickloop://one:9092", "clickloop://two:9093"]
    assert not app.conf.web_enabled
    assert not app.conf.topic_allow_declare
    assert app.conf.topic_disable_leader
    assert not app.conf.stream_wait_empty
    assert app.conf.table_standby_replicas == 1
    assert not app.in_transaction
    assert "CrashingSupervisor" in str(app.conf.agent_supervisor)
    assert not app.conf.producer_threaded
    assert not app.chunk_topic("impressions").acks
