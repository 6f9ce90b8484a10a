"""The transport on a real broker: nothing skipped, nothing committed that is still needed."""

import itertools
import json
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.waiting import eventually
from tests.system.kafka.broker import Broker
from tests.system.kafka.jars import fetched
from tests.system.kafka.topics import committed, create, delete_before, ends, fill, unique
from tests.system.kafka.workers.process import Read, Worker, entries


def numbers(count: int, first: int = 0) -> Iterator[bytes]:
    return (b"%d" % n for n in range(first, first + count))


def by_partition(chunks: list[Read]) -> dict[tuple[str, int], list[Read]]:
    found: dict[tuple[str, int], list[Read]] = defaultdict(list)
    for chunk in chunks:
        found[chunk.topic, chunk.number].append(chunk)
    return found


def assert_nothing_skipped(chunks: list[Read]) -> None:
    """Within an epoch of a worker offsets are contiguous; a new epoch never starts too late."""
    for partition, reads in by_partition(chunks).items():
        through = 0
        last: dict[tuple[int, int], int] = {}
        for read in reads:
            expected = last.get((read.pid, read.epoch))
            if expected is None:
                assert read.begin <= through, f"{partition}: {through} to {read.begin} skipped"
            else:
                assert read.begin == expected, partition
            assert read.offsets == list(range(read.begin, read.end)), partition
            assert read.values == read.offsets, partition
            last[read.pid, read.epoch] = read.end
            through = max(through, read.end)


def test_records_come_in_order_and_only_what_is_unneeded_is_committed(
    kafka: str, tmp_path: Path
) -> None:
    topic, group = unique("order"), unique("group")
    create(kafka, topic, partitions=3)
    for number in range(3):
        fill(kafka, topic, number, numbers(5000))
    with Worker(kafka, group, tmp_path / "journal", topics=[topic], keep=100) as worker:
        worker.until(topic, dict.fromkeys(range(3), 5000))
        for number in range(3):
            eventually(lambda n=number: committed(kafka, group, topic, n) == 4900)  # type: ignore[misc]
        worker.stop()
        chunks = worker.chunks()
        assert_nothing_skipped(chunks)
        assert len(chunks) > 3
        assert [committed(kafka, group, topic, number) for number in range(3)] == [4900] * 3
        assert len(worker.lines("revoked")) == 1

    assert not list(tmp_path.glob("*-data")), "folders of Faust's"

    # Once more: it goes on from the committed offsets, the records still needed come again.
    with Worker(kafka, group, tmp_path / "again", topics=[topic], keep=100) as worker:
        worker.until(topic, dict.fromkeys(range(3), 5000))
        worker.stop()
        firsts = {n: reads[0].begin for (_, n), reads in by_partition(worker.chunks()).items()}
        assert firsts == dict.fromkeys(range(3), 4900)


def test_the_owner_says_where_to_start(kafka: str, tmp_path: Path) -> None:
    topic, group = unique("starts"), unique("group")
    create(kafka, topic, partitions=3)
    for number in range(3):
        fill(kafka, topic, number, numbers(1000))
    with Worker(kafka, group, tmp_path / "first", topics=[topic], keep=500) as worker:
        worker.until(topic, dict.fromkeys(range(3), 1000))
        worker.stop()
    starts = {topic: {"0": 20, "1": 980}}  # before and after what is committed; 2 is left open
    with Worker(kafka, group, tmp_path / "own", topics=[topic], starts=starts) as worker:
        worker.until(topic, dict.fromkeys(range(3), 1000))
        worker.stop()
        firsts = {n: reads[0].begin for (_, n), reads in by_partition(worker.chunks()).items()}
        assert firsts == {0: 20, 1: 980, 2: 500}


def test_reading_goes_on_however_much_is_still_needed(kafka: str, tmp_path: Path) -> None:
    topic, group = unique("unneeded"), unique("group")
    create(kafka, topic, partitions=1)
    fill(kafka, topic, 0, numbers(60_000))
    options = {"topics": [topic], "commit": False, "chunk_records": 1000}
    with Worker(kafka, group, tmp_path / "journal", **options) as worker:
        worker.until(topic, {0: 60_000})
        worker.stop()
        assert_nothing_skipped(worker.chunks())
    assert committed(kafka, group, topic, 0) is None


def test_a_held_partition_waits_and_loses_nothing(kafka: str, tmp_path: Path) -> None:
    topic = unique("held")
    create(kafka, topic, partitions=2)
    fill(kafka, topic, 0, numbers(20_000))
    options = {"topics": [topic], "hold_at": 1000, "chunk_records": 100}
    with Worker(kafka, unique("group"), tmp_path / "journal", **options) as worker:
        worker.until(topic, {0: 20_000})
        worker.stop()
        assert_nothing_skipped(worker.chunks())
        happened = [line["what"] for line in entries(worker.journal)]
        before = happened[: happened.index("released")].count("chunk")
    assert 11 <= before < 50, "only what had been fetched still came while it was held"


def test_offsets_of_transactions_are_no_gap(kafka: str, tmp_path: Path) -> None:
    topic, group = unique("transactions"), unique("group")
    create(kafka, topic, partitions=1)
    settings = {"bootstrap.servers": kafka, "transactional.id": unique("writer")}
    producer = Producer(settings)
    producer.init_transactions(30)
    for transaction in range(5):
        producer.begin_transaction()
        for value in numbers(10, 10 * transaction):
            producer.produce(topic, value, partition=0)
        producer.commit_transaction(30)
    assert ends(kafka, topic, 0) == (0, 55)
    with Worker(kafka, group, tmp_path / "journal", topics=[topic]) as worker:
        worker.until(topic, {0: 55})
        eventually(lambda: committed(kafka, group, topic, 0) == 55)
        worker.stop()
        values = [value for chunk in worker.chunks() for value in chunk.values]
        assert values == list(range(50))


def test_what_is_published_arrives_once_in_order(kafka: str, tmp_path: Path) -> None:
    topic, out, group = unique("in"), unique("out"), unique("group")
    create(kafka, topic, out, partitions=2)
    for number in range(2):
        fill(kafka, topic, number, numbers(3000))
    with Worker(kafka, group, tmp_path / "journal", topics=[topic], publish=out) as worker:
        for number in range(2):
            eventually(lambda n=number: committed(kafka, group, topic, n) == 3000)  # type: ignore[misc]
        worker.stop()
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": unique("check")})
    for number in range(2):
        consumer.assign([TopicPartition(out, number, 0)])
        values: list[int] = []
        while len(values) < 3000:
            message = consumer.poll(30)
            assert message is not None
            value = message.value()
            assert value is not None
            assert message.headers() == [("begin", b"%d" % len(values))]
            values += json.loads(value)
        assert values == list(range(3000))
    consumer.close()


class Load(threading.Thread):
    """Appends the same numbers to every partition of every topic, until it is stopped."""

    def __init__(self, address: str, topics: list[str], partitions: int) -> None:
        super().__init__(daemon=True)
        self._producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})
        self._places = [(topic, number) for topic in topics for number in range(partitions)]
        self._stopped = threading.Event()
        self.count = 0

    def run(self) -> None:
        while not self._stopped.wait(0.01):
            for value in numbers(10, self.count):
                for topic, number in self._places:
                    self._producer.produce(topic, value, partition=number)
            self.count += 10
            self._producer.poll(0)

    def stop(self) -> int:
        """How many there are in each partition now."""
        self._stopped.set()
        self.join()
        assert self._producer.flush(60) == 0
        return self.count


def test_a_second_worker_joins_and_leaves_under_load(kafka: str, tmp_path: Path) -> None:
    topics, group = [unique("impressions"), unique("clicks")], unique("group")
    create(kafka, *topics, partitions=4)
    journal = tmp_path / "journal"
    load = Load(kafka, topics, 4)
    load.start()
    options = {"topics": topics, "keep": 50, "slow_s": 0.002, "claim_s": 0.3}
    with Worker(kafka, group, journal, **options) as first:
        first.until(topics[0], {0: 500})
        with Worker(kafka, group, journal, **options) as second:
            eventually(lambda: len({c.pid for c in first.chunks()}) == 2)
            time.sleep(2)
            second.stop()
        time.sleep(1)
        count = load.stop()
        for topic in topics:
            first.until(topic, dict.fromkeys(range(4), count))
        for topic, number in itertools.product(topics, range(4)):
            eventually(
                lambda t=topic, n=number: committed(kafka, group, t, n) == count - 50  # type: ignore[misc]
            )
        first.stop()
        chunks = first.chunks()
    assert_nothing_skipped(chunks)
    assigned = first.lines("assigned")
    sizes = []
    for line in assigned:
        numbers_of = {t: {n for topic, n in line["partitions"] if topic == t} for t in topics}
        assert numbers_of[topics[0]] == numbers_of[topics[1]], "co-partitioned"
        sizes.append(len(numbers_of[topics[0]]))
    assert {2, 4} <= set(sizes), "shared while there were two, whole before and after"
    ours = {(line["pid"], line["epoch"]) for line in first.lines("revoked")}
    assert {(chunk.pid, chunk.epoch) for chunk in chunks} <= ours, "every epoch was revoked"


def test_the_last_word_counts_when_partitions_go(kafka: str, tmp_path: Path) -> None:
    topic, group, journal = unique("last"), unique("group"), tmp_path / "journal"
    create(kafka, topic, partitions=2)
    for number in range(2):
        fill(kafka, topic, number, numbers(3000))
    options = {"topics": [topic], "keep": 30, "commit_interval": 600}
    with Worker(kafka, group, journal, **options) as first:
        first.until(topic, dict.fromkeys(range(2), 3000))
        assert committed(kafka, group, topic, 0) is None
        with Worker(kafka, group, journal, **options) as second:
            eventually(lambda: len(first.lines("assigned")) >= 3)
            assert [committed(kafka, group, topic, n) for n in range(2)] == [2970] * 2
            fill(kafka, topic, 0, numbers(1000, 3000))
            fill(kafka, topic, 1, numbers(1000, 3000))
            first.until(topic, dict.fromkeys(range(2), 4000))
            second.stop()
        first.stop()
        assert [committed(kafka, group, topic, n) for n in range(2)] == [3970] * 2
        assert_nothing_skipped(first.chunks())
        told = [(line["pid"], line["epoch"]) for line in first.lines("assigned")]
        assert sorted(told) == sorted((x["pid"], x["epoch"]) for x in first.lines("revoked"))


def test_a_killed_worker_is_followed_without_loss(kafka: str, tmp_path: Path) -> None:
    topic, group, journal = unique("kill"), unique("group"), tmp_path / "journal"
    create(kafka, topic, partitions=2)
    for number in range(2):
        fill(kafka, topic, number, numbers(20_000))
    options = {"topics": [topic], "keep": 300, "slow_s": 0.01, "session_timeout": 2}
    with Worker(kafka, group, journal, **options) as worker:
        worker.until(topic, {0: 5000})
        worker.kill()
    with Worker(kafka, group, journal, **{**options, "slow_s": 0}) as worker:
        worker.until(topic, dict.fromkeys(range(2), 20_000))
        worker.stop()
        assert_nothing_skipped(worker.chunks())
        assert len({chunk.pid for chunk in worker.chunks()}) == 2


def test_a_worker_that_wakes_up_too_late_commits_nothing(kafka: str, tmp_path: Path) -> None:
    topic, group, journal = unique("zombie"), unique("group"), tmp_path / "journal"
    create(kafka, topic, partitions=1)
    fill(kafka, topic, 0, numbers(5000))
    options = {"topics": [topic], "session_timeout": 2, "chunk_records": 100}
    with Worker(kafka, group, journal, slow_s=0.05, **options) as zombie:
        zombie.until(topic, {0: 500})
        zombie.signal(signal.SIGSTOP)
        with Worker(kafka, group, journal, **options) as heir:
            heir.until(topic, {0: 5000})
            eventually(lambda: committed(kafka, group, topic, 0) == 5000)
            zombie.signal(signal.SIGCONT)
            eventually(lambda: len(zombie.lines("revoked")) >= 2)
            assert committed(kafka, group, topic, 0) == 5000
            heir.stop()
            # Alone again, the former zombie has the partition anew, and there is nothing to read.
            eventually(lambda: len(zombie.lines("assigned")) >= 4)
            fill(kafka, topic, 0, numbers(100, 5000))
            zombie.until(topic, {0: 5100})
        eventually(lambda: committed(kafka, group, topic, 0) == 5100)
        zombie.stop()
        assert_nothing_skipped(zombie.chunks())


@pytest.mark.parametrize(
    ("start", "says"), [(50, "the log begins at 100"), (1001, "the log ends at 1000")]
)
def test_a_start_outside_the_log_ends_the_worker(
    kafka: str, tmp_path: Path, start: int, says: str
) -> None:
    topic = unique("outside")
    create(kafka, topic, partitions=1)
    fill(kafka, topic, 0, numbers(1000))
    delete_before(kafka, topic, 0, 100)
    starts = {topic: {"0": start}}
    options = {"topics": [topic], "starts": starts}
    with Worker(kafka, unique("group"), tmp_path / "journal", **options) as worker:
        assert worker.ended() != 0
        assert f"{topic}-0: offset {start} is to be read, but {says}" in worker.said
        assert worker.chunks() == []


def test_records_deleted_under_a_worker_end_it(kafka: str, tmp_path: Path) -> None:
    topic = unique("deleted")
    create(kafka, topic, partitions=1)
    # More than two fetches bring, and the chunks that a worker has waiting.
    fill(kafka, topic, 0, (b"%0900d" % n for n in range(20_000)))
    gate = tmp_path / "gate"
    options = {"topics": [topic], "gate": str(gate), "chunk_records": 250}
    with Worker(kafka, unique("group"), tmp_path / "journal", **options) as worker:
        worker.until(topic, {0: 250})
        delete_before(kafka, topic, 0, 19_990)
        gate.touch()
        assert worker.ended() != 0
        assert f"to {19_989} were skipped" in worker.said
        assert worker.read_through(topic, 0) < 19_990


def test_an_agent_that_fails_ends_the_worker(kafka: str, tmp_path: Path) -> None:
    topic, group = unique("fails"), unique("group")
    create(kafka, topic, partitions=1)
    fill(kafka, topic, 0, numbers(5000))
    options = {"topics": [topic], "fail_at": 2200, "slow_s": 0.05}
    with Worker(kafka, group, tmp_path / "journal", **options) as worker:
        assert worker.ended() != 0
        assert "asked to fail" in worker.said
        last = worker.chunks()[-1]
    assert last.begin <= 2200 < last.end
    assert (committed(kafka, group, topic, 0) or 0) <= last.begin


def test_different_partition_counts_end_the_worker(kafka: str, tmp_path: Path) -> None:
    first, second = unique("two"), unique("three")
    create(kafka, first, partitions=2)
    create(kafka, second, partitions=3)
    options = {"topics": [first, second]}
    with Worker(kafka, unique("group"), tmp_path / "journal", **options) as worker:
        assert worker.ended() != 0
        assert "give the topics the same number of partitions" in worker.said


@pytest.fixture
def own_broker(tmp_path: Path, kafka: str) -> Iterator[Broker]:  # noqa: ARG001 it skips
    """A broker that a test may hurt; wherever there is none, `kafka` has said so."""
    broker = Broker(fetched(), tmp_path / "broker")
    broker.start()
    yield broker
    broker.resume()
    broker.stop()


def test_a_broker_that_dies_and_one_that_hangs_lose_nothing(
    own_broker: Broker, tmp_path: Path
) -> None:
    topic, group, address = unique("broker"), unique("group"), own_broker.address
    create(address, topic, partitions=2)
    for number in range(2):
        fill(address, topic, number, numbers(3000))
    options = {"topics": [topic], "keep": 10, "session_timeout": 2}
    with Worker(address, group, tmp_path / "journal", **options) as worker:
        worker.until(topic, dict.fromkeys(range(2), 3000))
        own_broker.kill()
        time.sleep(1)
        own_broker.start()
        for number in range(2):
            fill(address, topic, number, numbers(3000, 3000))
        worker.until(topic, dict.fromkeys(range(2), 6000), patience=60)
        own_broker.pause()
        time.sleep(5)
        own_broker.resume()
        for number in range(2):
            fill(address, topic, number, numbers(3000, 6000))
        worker.until(topic, dict.fromkeys(range(2), 9000), patience=60)
        eventually(lambda: committed(address, group, topic, 0) == 8990)
        own_broker.pause()
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 1
        assert "Kafka did not answer" in worker.said
        assert_nothing_skipped(worker.chunks())
