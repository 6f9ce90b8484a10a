"""The loop under load on a real broker: workers come and go, and in the end everything is right.

A feeder sends impressions and clicks; join workers and a learner are hurt by a scenario. In the
end every labelled row is the oracle's, and the learner has the weights of those rows.
"""

import json
import random
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from deploy import settings
from deploy.workers.join import command as join_command
from deploy.workers.learn import command as learn_command
from joiner import JoinSettings, SamplingSettings
from joiner.protocol.config import PartitionConfig
from streams.labelled_log import Claim
from tests.support.waiting import eventually
from tests.system.kafka.learned import check_learned, examples
from tests.system.kafka.pipeline import (
    checked,
    is_joined,
    labelled_messages,
    make_topics,
    messages,
    produce,
)
from tests.system.kafka.topics import ends, fill, unique
from tests.system.kafka.workers.child import Child
from tests.system.kafka.workers.join import Joining
from tests.system.kafka.workers.learning import LearnProcess
from tests.system.simulation.check import void_blocks

WINDOW, LATENESS, HORIZON = 1500, 200, 2000
FAR = 3_600_000  # what comes so much later closes every window
CLOSERS = 24  # for each partition, so that everyone gets one
SESSION_S = 6.0
ADS = 50

# The learner's settings: saves and versions follow each other quickly, so that it dies in them.
LEARNER = """
[features.fields]
ad = { kind = "categorical" }
[learner]
alpha = 0.3
l1 = 0.05
[snapshots]
every = "2s"
checkpoint_every = 300
[worker]
save_every = "500ms"
"""


def joining(address: str, partitions: int = 2, **more: Any) -> Joining:
    """A join with subsampling, corrections and a short window."""
    join = {"window": WINDOW, "lateness": LATENESS, "correction_horizon": HORIZON}
    return Joining(
        address,
        unique("stage"),
        partitions=partitions,
        fields={"ad": "string"},
        join=join | more.pop("join", {}),
        sampling={"keep_rate": 0.3},
        pace={"idle_timeout": 1.0, "linger": 0.02, "keepalive": 1.0} | more.pop("pace", {}),
        app={"session_timeout": SESSION_S} | more.pop("app", {}),
        **more,
    )


def compile_kernels(folder: Path) -> None:
    """Have the workers' kernels compiled, which would take longer than anybody waits for them."""
    config = folder / "compiled.toml"
    config.write_text(LEARNER)
    told = joining("nowhere")
    join = JoinSettings.model_validate(told.join)
    join_command.warm(
        PartitionConfig(told.schema, join, SamplingSettings.model_validate(told.sampling))
    )
    learn_command.warm(settings.load(config))


class JoinWorker(Child):
    """A join worker of a stage."""

    def __init__(self, joining: Joining, log: Path) -> None:
        super().__init__("tests.system.kafka.workers.join", json.dumps(asdict(joining)), log=log)


class Stage:
    """Topics, events that keep coming, and workers, all of which end with the `with` block."""

    def __init__(
        self,
        joining: Joining,
        folder: Path,
        seed: int,
        rate: int = 400,
        labelled_bytes: int | None = None,
    ) -> None:
        """rate: impressions a second. labelled_bytes: the most a labelled message may have."""
        self.joining = joining
        self._labelled_bytes = labelled_bytes
        self.random = random.Random(seed)
        self._folder = folder
        self._rate = rate
        self._halt = threading.Event()
        self.clicks_flow = threading.Event()
        self.clicks_flow.set()
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._workers: list[JoinWorker] = []
        self._config = folder / "learner.toml"
        self._config.write_text(LEARNER)
        self._learners: list[LearnProcess] = []
        self.sent = Counter[str]()
        self._now = int(time.time() * 1000) - 10 * FAR

    def __enter__(self) -> Self:
        make_topics(self.joining, self._labelled_bytes)
        self._feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._feeder.join()
        for worker in (*self._workers, *self._learners):
            worker.kill()

    def learner(self, **options: Any) -> LearnProcess:
        """Start one; options: of `Learns`."""
        told = {
            "config": str(self._config),
            "topic": self.joining.topics.labelled,
            "group": self.joining.name,
            "session_timeout": self.joining.app["session_timeout"],
        }
        made = LearnProcess(self.joining.address, self._folder, **told | options)
        self._learners.append(made)
        return made

    def worker(self, **changes: Any) -> JoinWorker:
        """Start one."""
        log = self._folder / f"worker-{len(self._workers)}.log"
        made = JoinWorker(Joining(**asdict(self.joining) | changes), log)
        self._workers.append(made)
        return made

    def labelled(self) -> int:
        """Messages of the labelled topic so far."""
        topic, partitions = self.joining.topics.labelled, range(self.joining.partitions)
        return sum(ends(self.joining.address, topic, number)[1] for number in partitions)

    def void_blocks(self) -> int:
        """Blocks of writers that were superseded, so far."""
        every = range(self.joining.partitions)
        return sum(void_blocks(labelled_messages(self.joining, number)) for number in every)

    def claims(self) -> int:
        """How often partitions were claimed so far."""
        every = range(self.joining.partitions)
        logs = [labelled_messages(self.joining, number) for number in every]
        return sum(isinstance(one.entry(0).header, Claim) for log in logs for one in log)

    def until_claimed(self, before: int, patience: float = 90.0) -> None:
        """Wait until every partition was claimed once more than when there were so many claims."""
        eventually(lambda: self.claims() >= before + self.joining.partitions, patience)

    def spoil(self, source: int, value: bytes) -> None:
        """A message of any kind in an input topic."""
        topic = self.joining.topics.inputs[source]
        fill(self.joining.address, topic, self.random.randrange(self.joining.partitions), [value])

    def dead_letters(self) -> list[dict[str, Any]]:
        """What the workers refused."""
        found = []
        for number in range(self.joining.partitions):
            for one in messages(self.joining.address, self.joining.topics.dead_letters, number):
                found.append(json.loads(one.value or b""))
        return found

    def until_more(self, blocks: int = 6, patience: float = 90.0) -> None:
        """Wait until so many more blocks are there."""
        wanted = self.labelled() + blocks
        eventually(lambda: self.labelled() >= wanted, patience)

    def finish(self, patience: float = 120.0) -> Counter[str]:
        """End the flow, close every window, wait until all is joined, and check all of it."""
        self._halt.set()
        self._feeder.join()
        self._close_windows()
        if all(worker.process.poll() is not None for worker in self._workers):
            self.worker()
        joining = self.joining
        eventually(lambda: all(is_joined(joining, n) for n in range(joining.partitions)), patience)
        happened = Counter(self.sent)
        self._finish_learning(patience)
        for world, oracle in checked(joining):
            assert (
                len(oracle.queue) - oracle.head <= CLOSERS * joining.partitions
            )  # what closed the windows is open
            happened.update(world.happened)
            happened.update({f"joined {name}": n for name, n in oracle.counts.items()})
            happened["late clicks"] += len(oracle.late)
        return happened

    def _finish_learning(self, patience: float) -> None:
        running = [one for one in self._learners if one.process.poll() is None]
        learner = running[0] if running else self.learner()
        wanted = sum(examples(self.joining, n).num_rows for n in range(self.joining.partitions))
        eventually(lambda: len(learner.trained()) >= wanted, patience)
        for one in running or [learner]:
            one.stop()
        check_learned(self.joining, self._config, learner.trained(), self._folder / "store")

    def _feed(self) -> None:
        """Impressions, some of them twice, a tenth of them clicked, in time or late."""
        clicks: list[dict[str, Any]] = []
        begun, shown = time.monotonic(), 0
        while not self._halt.wait(0.1):
            due = int((time.monotonic() - begun) * self._rate) - shown
            impressions = [self._impression(clicks) for _ in range(due)]
            shown += due
            repeated = [one for one in impressions if self.random.random() < 0.02]
            self.sent["duplicates sent"] += len(repeated)
            produce(self.joining, 0, impressions + repeated)
            if self.clicks_flow.is_set():
                clicks.sort(key=lambda one: int(one["ts"]))
                ripe = [one for one in clicks if one["ts"] <= self._now]
                del clicks[: len(ripe)]
                self.sent["clicks sent"] += len(ripe)
                produce(self.joining, 1, ripe)
        self.sent["clicks sent"] += len(clicks)
        produce(self.joining, 1, sorted(clicks, key=lambda one: int(one["ts"])))

    def _impression(self, clicks: list[dict[str, Any]]) -> dict[str, Any]:
        self._now += 1000 // self._rate
        self.sent["impressions sent"] += 1
        name, ts = f"i{self.sent['impressions sent']}", self._now + self.random.randint(-90, 90)
        if self.random.random() < 0.1:
            delay = self.random.choice([100, 500, 1000, WINDOW + 400, WINDOW + HORIZON + 900])
            clicks.append({"impression_id": name, "ts": ts + delay})
        features = {"ad": f"ad{self.random.randrange(ADS)}"}
        return {"impression_id": name, "ts": ts, "features": features}

    def _close_windows(self) -> None:
        """In every partition an impression and a click from long after."""
        names = [f"closer{n}" for n in range(CLOSERS * self.joining.partitions)]
        far = self._now + FAR
        produce(self.joining, 0, [{"impression_id": n, "ts": far, "features": {}} for n in names])
        produce(self.joining, 1, [{"impression_id": n, "ts": far} for n in names])
