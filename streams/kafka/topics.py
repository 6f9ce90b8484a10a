"""Topics: the configuration that each must have, making them, and what is wrong with them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from streams.duration import readable
from streams.errors import ClickloopError
from streams.kafka.client_errors import translated_errors
from streams.kafka.security import client_options
from streams.kafka.settings import KafkaSettings, TopicSettings

_EXISTS = 36  # Kafka's error code TOPIC_ALREADY_EXISTS
_UNKNOWN = 3  # UNKNOWN_TOPIC_OR_PARTITION
_HOUR = 3_600_000
_PATIENCE_MS = 10_000  # to find a first broker
_CONFIGS = "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {}"


@dataclass(frozen=True, slots=True)
class Topic:
    """An existing topic: partitions, the fewest replicas of any partition, configuration."""

    partitions: int
    replication: int
    config: Mapping[str, str]

    def number(self, key: str) -> int:
        """A number of the topic's configuration; -1 means without limit."""
        return int(self.config[key])


def required_retention(kept: int) -> int:
    """How long messages must be kept, milliseconds, if impressions stay needed for `kept`.

    A quarter more, but at least an hour: for a restart, and since retention counts from the append.
    """
    return kept + max(kept // 4, _HOUR)


def wanted(topics: TopicSettings, kept: int) -> dict[str, str]:
    """The configuration of new topics."""
    return {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(max(topics.retention, required_retention(kept))),
        "retention.bytes": "-1",
        "max.message.bytes": str(topics.max_message_bytes),
        "min.insync.replicas": str(max(1, topics.replication - 1)),
    }


def problems(
    found: Mapping[str, Topic], topics: TopicSettings, kept: int, servers: str
) -> list[str]:
    """Everything that is wrong with the topics `found`, each with its fix.

    kept: how long an impression may be needed, W + max(H, D) + L in milliseconds.
    """
    listed = []
    for name in topics.names:
        topic = found.get(name)
        if topic is None:
            listed.append(f"{name}: missing; `clickloop topics create` makes it")
        else:
            listed += [f"{name}: {what}" for what in _wrong(name, topic, topics, kept, servers)]
    impressions, labelled = found.get(topics.impressions), found.get(topics.labelled)
    if impressions is not None and labelled is not None:
        for key in ("retention.ms", "retention.bytes"):
            if _limit(labelled, key) < _limit(impressions, key):
                value = impressions.config[key]
                listed.append(
                    f"{topics.labelled}: {key} is {labelled.config[key]}, less than the {value} of "
                    f"{topics.impressions}; {_alter(servers, topics.labelled, key, value)}"
                )
    return listed


def _wrong(
    name: str, topic: Topic, topics: TopicSettings, kept: int, servers: str
) -> Iterator[str]:
    joined = name in (topics.impressions, topics.clicks, topics.labelled)
    if joined and topic.partitions != topics.partitions:
        yield (
            f"{topic.partitions} partitions, not {topics.partitions}; set [topics] partitions to "
            f"{topic.partitions} if all three topics have so many, else name new topics"
        )
    if topic.replication < topics.replication:
        yield (
            f"{topic.replication} replicas, not {topics.replication}; add some with "
            "kafka-reassign-partitions.sh, or lower [topics] replication"
        )
    for key, value in (("cleanup.policy", "delete"), ("message.timestamp.type", "LogAppendTime")):
        if topic.config[key] != value:
            fix = _alter(servers, name, key, value)
            yield f"{key} is {topic.config[key]}, not {value}; {fix}"
    least = required_retention(kept) if joined else 0
    needed = max(least, topics.retention)
    if _limit(topic, "retention.ms") < needed:
        why = f"{readable(topics.retention)}, [topics] retention"
        if needed > topics.retention:
            why = (
                f"{readable(needed)}: by [join], impressions stay needed for {readable(kept)}, and "
                "there must be a margin"
            )
        value = str(needed)
        fix = _alter(servers, name, "retention.ms", value)
        yield f"retention.ms is {topic.config['retention.ms']}, less than {value} ({why}); {fix}"
    if joined and topic.number("retention.bytes") != -1:
        fix = _alter(servers, name, "retention.bytes", "-1")
        value = topic.config["retention.bytes"]
        yield f"retention.bytes is {value}, so a busy hour deletes what is still needed; {fix}"
    if topic.number("max.message.bytes") < topics.max_message_bytes:
        value = str(topics.max_message_bytes)
        fix = _alter(servers, name, "max.message.bytes", value)
        yield f"max.message.bytes is {topic.config['max.message.bytes']}, less than {value}; {fix}"


def _limit(topic: Topic, key: str) -> float:
    value = topic.number(key)
    return float("inf") if value == -1 else value


def _alter(servers: str, name: str, key: str, value: str) -> str:
    return f"`{_CONFIGS.format(servers, name)} --add-config {key}={value}`"


class Admin:
    """Looks at topics and makes them. Use inside `admin`."""

    def __init__(self, client: KafkaAdminClient, servers: str) -> None:
        self._client = client
        self._servers = servers

    def create(self, topics: TopicSettings, kept: int) -> list[str]:
        """Make the topics that are missing; their names.

        Raises ClickloopError that lists every topic that could not be made, with the reason.
        """
        options = {
            "num_partitions": topics.partitions,
            "replication_factor": topics.replication,
            "configs": wanted(topics, kept),
        }
        existing = self.describe(topics)
        missing = [name for name in topics.names if name not in existing]
        if not missing:
            return []
        answer = self._client.create_topics(dict.fromkeys(missing, options), raise_errors=False)
        failed = [each for each in answer["topics"] if each["error_code"] not in (0, _EXISTS)]
        if failed:
            lines = [f"  {each['name']}: {' '.join(_words(each).split())}" for each in failed]
            lines.append("check [topics] replication, and that this client may create topics")
            raise ClickloopError("\n".join([f"{self._servers}: topics not made:", *lines]))
        self._client.wait_for_topics(missing)
        return missing

    def describe(self, topics: TopicSettings) -> dict[str, Topic]:
        """The topics that exist, by name."""
        answer = self._client.describe_topics(list(topics.names))
        shapes = {}
        for each in answer:
            if each["error_code"] == _UNKNOWN:
                continue
            if each["error_code"]:
                raise ClickloopError(
                    f"{self._servers}: topic {each['name']}: Kafka's error {each['error_code']}; "
                    "may this client describe it?"
                )
            shapes[each["name"]] = each["partitions"]
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in shapes]
        if not resources:
            return {}
        configs = self._client.describe_configs(resources, config_filter="all")["topic"]
        return {
            name: Topic(
                partitions=len(partitions),
                replication=min(len(each["replica_nodes"]) for each in partitions),
                config={key: each["value"] for key, each in configs[name].items()},
            )
            for name, partitions in shapes.items()
        }


def _words(answer: Mapping[str, object]) -> str:
    return str(answer["error_message"] or f"Kafka's error {answer['error_code']}")


@contextmanager
def admin(kafka: KafkaSettings) -> Iterator[Admin]:
    """Administer the cluster. Raises ConfigError for credentials, else ClickloopError."""
    with translated_errors(kafka.bootstrap_servers):
        client = KafkaAdminClient(**client_options(kafka), bootstrap_timeout_ms=_PATIENCE_MS)
        try:
            yield Admin(client, kafka.bootstrap_servers)
        finally:
            client.close()
