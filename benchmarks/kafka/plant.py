"""What the measurements on Kafka share: a broker, topics that are filled, the two workers.

Everything is as an operator has it: topics as `clickloop topics create` makes them, messages as the
producers write them, the workers' own commands, the settings of deploy/bench/trivago.toml.
"""

import itertools
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from deploy.settings import Settings, load
from streams.compute.murmur2 import partition_of
from streams.deadletter import Source
from streams.kafka.produce.in_flight import ProducerSettings
from streams.kafka.produce.producer import ClickProducer, ImpressionProducer
from streams.kafka.settings import Format
from streams.kafka.topics import admin
from tests.support import trivago
from tests.support.waiting import eventually
from tests.system.kafka.broker import Broker
from tests.system.kafka.jars import fetched
from tests.system.kafka.topics import unique
from tests.system.kafka.workers.child import Child

ANY = "127.0.0.1:0"
SOURCES: tuple[Source, Source] = ("impressions", "clicks")
CLOSERS = 2  # impressions in each partition
FAR_MS = 7 * 86_400_000  # what comes so much later closes every window


@contextmanager
def kafka() -> Iterator[tuple[str, Path]]:
    """A broker's address, and a folder that goes with it.

    CLICKLOOP_TEST_KAFKA names one that runs already. Raises NoKafkaError where there is none.
    """
    with tempfile.TemporaryDirectory(prefix="clickloop-bench-") as name:
        folder = Path(name)
        named = os.environ.get("CLICKLOOP_TEST_KAFKA")
        if named:
            yield named, folder
            return
        broker = Broker(fetched(), folder / "kafka", quick=False)
        broker.start()
        try:
            yield broker.address, folder
        finally:
            broker.stop()


class Plant:
    """Topics, their settings, and the workers on them, all of which end with the `with` block."""

    settings: Settings

    def __init__(
        self, address: str, folder: Path, *, inputs: "Plant | None" = None, **changes: str
    ) -> None:
        """inputs: whose impressions and clicks are read; default: its own. changes: settings as
        the environment names them, JOIN__WINDOW for example.
        """
        name = unique("plant")
        self.folder = folder / name
        self.folder.mkdir()
        self._workers: list[Child] = []
        self._environment = {f"CLICKLOOP_{key}": value for key, value in changes.items()}
        topics = {kind: f"{name}-{kind}" for kind in ("labelled", "dead_letters", "late_clicks")}
        topics |= {source: f"{name}-{source}" for source in SOURCES}
        if inputs is not None:
            shared = inputs.settings.topics
            topics |= {"impressions": shared.impressions, "clicks": shared.clicks}
        lines = [f'{kind} = "{topic}"' for kind, topic in topics.items()]
        self.config = self.folder / "clickloop.toml"
        self.config.write_text(
            trivago.example("trivago.toml").read_text()
            + f'\n[kafka]\nbootstrap_servers = "{address}"\ngroup_prefix = "{name}"\n'
            + "[topics]\nreplication = 1\n"
            + "\n".join(lines)
            + f'\n[worker]\njoin_http = "{ANY}"\nlearn_http = "{ANY}"\n'
        )
        self.settings = self._load()
        with admin(self.settings.kafka) as broker:
            broker.create(self.settings.topics, self.settings.join.known_span)

    def __enter__(self) -> "Plant":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()

    @property
    def journal(self) -> Path:
        """What the learner wrote down, for `learner.read`."""
        return self.folder / "learned"

    def producer(self, source: Source) -> ImpressionProducer | ClickProducer:
        """As `clickloop produce` has it."""
        topics = self.settings.topics
        kind = ImpressionProducer if source == "impressions" else ClickProducer
        topic = topics.impressions if source == "impressions" else topics.clicks
        tuned = ProducerSettings(message_bytes=topics.max_message_bytes)
        return kind(topic, self.settings.events, self.settings.kafka, tuned)

    def fill(self, source: Source, batches: Iterable[pa.RecordBatch], form: Format) -> int:
        """Publish batches; how many rows."""
        rows = 0
        with self.producer(source) as producer:
            for batch in batches:
                producer.send_rows(batch, as_json=form == "json")
                rows += batch.num_rows
        return rows

    def close_windows(self, ts: int) -> None:
        """In every partition an impression and a click from long after `ts`, ms, and then one more
        impression, before which a click could not come that is read later.
        """
        partitions, far = self.settings.topics.partitions, ts + FAR_MS
        with self.producer("impressions") as shown, self.producer("clicks") as clicked:
            for number in range(partitions):
                first, second = closers(number, partitions)
                shown.send({"impression_id": first, "ts": far, "features": {}})
                shown.send({"impression_id": second, "ts": far + 1, "features": {}})
                clicked.send({"impression_id": first, "ts": far})

    def join(self, core: int | None = None) -> Child:
        """Start a join worker, on one core if that is given; returns when it says it is there."""
        words = ("worker", "join", "--config", str(self.config))
        return self._start("deploy", *words, core=core)

    def learn(self) -> Child:
        """Start the learn worker; returns when it trains."""
        words = (str(self.config), str(self.folder / "store"), str(self.journal))
        worker = self._start("benchmarks.kafka.learner", *words)
        eventually(lambda: is_ready(worker), 60)
        return worker

    def _start(self, module: str, *words: str, core: int | None = None) -> Child:
        log = self.folder / f"worker-{len(self._workers)}.log"
        worker = Child(module, *words, log=log, **self._environment)
        self._workers.append(worker)
        if core is not None:
            os.sched_setaffinity(worker.process.pid, {core})

        def there() -> bool:
            assert worker.process.poll() is None, worker.said
            return "http://" in worker.said

        eventually(there, 120)
        return worker

    def _load(self) -> Settings:
        before = dict(os.environ)
        os.environ.update(self._environment)
        try:
            return load(self.config)
        finally:
            os.environ.clear()
            os.environ.update(before)


def closers(partition: int, partitions: int) -> tuple[str, str]:
    """Two ids of a partition."""
    names = (f"closer{number}" for number in itertools.count())
    mine = (name for name in names if partition_of(name.encode(), partitions) == partition)
    return next(mine), next(mine)


def is_ready(worker: Child) -> bool:
    """Whether a worker has read all there is."""
    assert worker.process.poll() is None, worker.said
    return asked(worker, "/readyz")[0] == 200


def has_partitions(join: Child) -> bool:
    """Whether a join worker has been given partitions."""
    status, words = asked(join, "/readyz")
    return bool(status) and "no partitions" not in words


def asked(worker: Child, path: str) -> tuple[int, str]:
    """Status and text of a worker's HTTP answer; 0 while there is none."""
    found = re.search(r"http://(\S+)", worker.said)
    if found is None:
        return 0, ""
    try:
        with urllib.request.urlopen(f"http://{found[1]}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
