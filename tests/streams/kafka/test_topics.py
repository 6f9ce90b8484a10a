"""`clickloop topics` on a real broker: what it makes is right, and each planted fault is found."""

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from typer.testing import CliRunner, Result

from deploy.cli.app import app
from streams.kafka.settings import TopicSettings
from streams.kafka.topics import Topic, problems, required_retention, wanted
from tests.support.waiting import PATIENCE_S, eventually
from tests.system.kafka.topics import create, unique

HOUR = 3_600_000
TOPICS = TopicSettings(replication=1, retention=3 * HOUR)
KEPT = HOUR
NAMES = ("impressions", "clicks", "labelled", "dead_letters", "late_clicks")


def right(**changes: str) -> Topic:
    config = {key.replace("_", "."): value for key, value in changes.items()}
    return Topic(TOPICS.partitions, 1, wanted(TOPICS, KEPT) | config)


def found(**changes: Topic | None) -> dict[str, Topic]:
    all_right: dict[str, Topic | None] = {getattr(TOPICS, name): right() for name in NAMES}
    named = {getattr(TOPICS, name): topic for name, topic in changes.items()}
    return {name: topic for name, topic in (all_right | named).items() if topic is not None}


def test_new_topics_have_no_problems() -> None:
    assert problems(found(), TOPICS, KEPT, "b:1") == []
    short = TopicSettings(replication=1, retention=HOUR)
    made = Topic(short.partitions, 1, wanted(short, KEPT))
    assert problems(dict.fromkeys(short.names, made), short, KEPT, "b:1") == []


CASES: list[tuple[str, Topic | None, list[str]]] = [
    ("clicks", None, ["clicks: missing; `clickloop topics create`"]),
    ("clicks", Topic(3, 1, right().config), ["clicks: 3 partitions, not 4"]),
    ("dead_letters", Topic(3, 1, right().config), []),
    ("labelled", right(cleanup_policy="compact"), ["labelled: cleanup.policy is compact"]),
    (
        "impressions",
        right(message_timestamp_type="CreateTime"),
        ["impressions: message.timestamp.type is CreateTime, not LogAppendTime"],
    ),
    ("clicks", right(retention_ms=str(2 * HOUR)), ["clicks: retention.ms is 7200000, less than"]),
    ("clicks", right(retention_ms="-1"), []),
    (
        "labelled",
        right(retention_ms=str(3 * HOUR - 1)),
        ["labelled: retention.ms is 10799999, less than 10800000 (3h", "less than the 10800000 of"],
    ),
    ("impressions", right(retention_ms="-1"), ["labelled: retention.ms is 10800000, less than"]),
    ("clicks", right(retention_bytes="1000"), ["clicks: retention.bytes is 1000"]),
    ("late_clicks", right(retention_bytes="1000"), []),
    ("labelled", right(max_message_bytes="1048588"), ["labelled: max.message.bytes is 1048588"]),
]


@pytest.mark.parametrize(("name", "topic", "said"), CASES)
def test_each_problem_is_listed_with_its_fix(
    name: str, topic: Topic | None, said: list[str]
) -> None:
    listed = problems(found(**{name: topic}), TOPICS, KEPT, "b:1")
    assert len(listed) == len(said)
    for line, part in zip(listed, said, strict=True):
        assert part in line
        assert "; " in line
        if "retention" in line or "policy" in line:
            assert "--bootstrap-server b:1 --alter --entity-type topics --entity-name" in line


def test_too_few_replicas_and_a_retention_that_the_join_outlives() -> None:
    listed = problems(found(), TopicSettings(replication=3, retention=3 * HOUR), KEPT, "b:1")
    assert len(listed) == 5
    assert all("1 replicas, not 3" in line for line in listed)
    listed = problems(found(), TOPICS, 3 * HOUR, "b:1")
    needed = required_retention(3 * HOUR)
    assert [line.split(":")[0] for line in listed] == ["impressions", "clicks", "labelled"]
    assert all(f"less than {needed} (4h: by [join]" in line for line in listed)


Make = Callable[..., Path]


@pytest.fixture
def config(kafka: str, tmp_path: Path) -> Make:
    """A file of settings with topics of its own, `changes` to [topics]."""

    def write(**changes: object) -> Path:
        names = "\n".join(f'{name} = "{unique(name)}"' for name in NAMES)
        values = "\n".join(
            f"{key} = {value}" for key, value in ({"replication": 1} | changes).items()
        )
        path = tmp_path / "clickloop.toml"
        path.write_text(
            f'[kafka]\nbootstrap_servers = "{kafka}"\n[topics]\n{names}\n{values}\n'
            '[features.fields]\ncity = { kind = "categorical" }\n'
        )
        return path

    return write


def run(command: str, path: Path) -> Result:
    return CliRunner().invoke(app, ["topics", command, "--config", str(path)])


def test_created_topics_pass_the_check(config: Make) -> None:
    path = config(partitions=3)
    before = run("check", path)
    assert before.exit_code == 1
    assert "5 problems with the topics" in before.output
    assert before.output.count("missing; `clickloop topics create` makes it") == 5
    made = run("create", path)
    assert made.exit_code == 0, made.output
    assert made.output.count("made, 3 partitions") == 5
    eventually(lambda: run("check", path).exit_code == 0)
    again = run("create", path)
    assert again.exit_code == 0
    assert again.output == "5 topics, nothing wrong\n"


def test_planted_problems_are_found(kafka: str, config: Make) -> None:
    path = config(partitions=2)
    topics = {
        line.split(" = ")[0]: line.split('"')[1]
        for line in path.read_text().splitlines()
        if line.split(" = ")[0] in NAMES
    }
    create(kafka, topics["impressions"], partitions=3, message_timestamp_type="CreateTime")
    run("create", path)
    change(kafka, topics["clicks"], "cleanup.policy", "compact")
    change(kafka, topics["labelled"], "retention.ms", "60000")
    expected = {
        f"{topics['impressions']}: 3 partitions, not 2",
        f"{topics['impressions']}: message.timestamp.type is CreateTime",
        f"{topics['impressions']}: max.message.bytes is 1048588",
        f"{topics['clicks']}: cleanup.policy is compact",
        f"{topics['labelled']}: retention.ms is 60000, less than 604800000 (7d",
        f"{topics['labelled']}: retention.ms is 60000, less than the 604800000",
    }

    def all_found() -> bool:
        lines = run("check", path).output.splitlines()[1:]
        return len(lines) == len(expected) and all(
            any(part in line for line in lines) for part in expected
        )

    eventually(all_found)
    assert run("create", path).exit_code == 1


def test_too_few_brokers_are_explained(config: Make) -> None:
    failed = run("create", config(replication=2))
    assert failed.exit_code == 1
    assert failed.output.count("replication factor of 2 cannot be reached") == 5
    assert "check [topics] replication" in failed.output


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clickloop.toml"
    path.write_text('[features.fields]\ncity = { kind = "categorical" }\n')
    monkeypatch.setenv("CLICKLOOP_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("streams.kafka.topics._PATIENCE_MS", 500)
    failed = run("check", path)
    assert failed.exit_code == 1
    assert "127.0.0.1:1" in failed.output
    assert "is Kafka there" in failed.output


def change(address: str, topic: str, key: str, value: str) -> None:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": address})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(PATIENCE_S)
