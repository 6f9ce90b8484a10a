"""One seeded schedule: workers, and everything that can go wrong between any two effects."""

from collections.abc import Callable
from random import Random

import pyarrow as pa

from joiner.protocol.config import PartitionConfig
from streams.arrow_ipc import encode
from tests.system.simulation.check import check, counting_blocks
from tests.system.simulation.workers import JoinWorker, Learner
from tests.system.simulation.world import World, new_world, settings

EVENTS = 36  # of each log, at most
TURNS = 64
MOST_WORKERS = 3


def _tight(world: World) -> int:
    """Bytes of a message that holds an example or two."""
    schema = world.schema.labelled
    columns = [pa.array([None], field.type) for field in schema]
    row = pa.RecordBatch.from_arrays(columns, schema=schema)
    return len(encode([row], schema)) + 60


class Schedule:
    """All that happens with one seed."""

    def __init__(self, seed: int, turns: int = TURNS, events: int = EVENTS) -> None:
        """seed: of every choice. events: of each log, at most."""
        self.random = Random(seed)
        self.world = new_world(self.random, events)
        self._turns = turns
        self.learner = Learner(self.world)
        self.workers: list[JoinWorker] = []
        self._names = 0
        self._setup = self._new_setup()

    def run(self) -> World:
        """Let it happen, then let one last worker finish the logs, and check what is there."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (8, self._new_events),
            (2, self._new_worker),
            (24, self._work),
            (3, self._read),
            (3, self._advance),
            (3, self._land),
            (3, self._acknowledge),
            (2, self._crash),
            (1, self._refuse),
            (1, self._change_settings),
            (1, self._retain),
            (6, self._learn),
            (3, self._save),
            (1, self._kill_learner),
        ]
        weights = [weight for weight, _ in actions]
        for _ in range(self._turns):
            self.random.choices([action for _, action in actions], weights)[0]()
        self._finish()
        oracle = check(self.world, self.learner)
        for what, times in (
            ("examples", len(oracle.labelled)),
            ("corrections", oracle.counts.get("corrections", 0)),
            ("late clicks", len(oracle.late)),
            ("duplicates", oracle.counts.get("duplicates", 0)),
            ("sampled out", oracle.counts.get("sampled_out", 0)),
            ("breaker openings", oracle.openings),
        ):
            self.world.count(what, times)
        return self.world

    def _new_setup(self) -> PartitionConfig:
        join, sampling = settings(self.random, self.world.schema.click_types)
        return PartitionConfig(
            self.world.schema,
            join,
            sampling,
            max_message_bytes=self.random.choice([_tight(self.world)] * 2 + [100_000]),
            cut_rows=self.random.choice([3, 1000]),
        )

    def _worker(self) -> JoinWorker | None:
        living = [worker for worker in self.workers if worker.alive]
        return self.random.choice(living) if living else None

    def _new_events(self) -> None:
        log = self.random.choice(self.world.inputs)
        log.end = min(log.end + self.random.randint(1, 10), log.messages)

    def _new_worker(self) -> None:
        living = sum(worker.alive for worker in self.workers)
        if living == 0 or (living < MOST_WORKERS and self.random.random() < 0.4):
            self._names += 1
            self.world.count("workers")
            self.workers.append(JoinWorker(self.world, self._setup, f"writer {self._names}"))

    def _work(self) -> None:
        """One worker goes on undisturbed for a while."""
        worker = self._worker()
        for _ in range(self.random.randint(1, 5)):
            if worker is None or not worker.alive:
                return
            if worker.wire and self.random.random() < 0.8:
                worker.land()
            if worker.landed and worker.alive:
                worker.acknowledge()
            if worker.asked and worker.alive:
                worker.answer()
            if worker.alive:
                worker.read(0, self.random.randint(1, 6))
                worker.read(1, self.random.randint(1, 6))
                idle = self.random.random() < 0.2, self.random.random() < 0.2
                worker.advance(idle, flush=self.random.random() < 0.05)

    def _read(self) -> None:
        if worker := self._worker():
            worker.read(self.random.randrange(2), self.random.randint(1, 5))

    def _advance(self) -> None:
        if worker := self._worker():
            idle = self.random.random() < 0.2, self.random.random() < 0.2
            worker.advance(idle, flush=self.random.random() < 0.1)

    def _land(self) -> None:
        """Also of workers that are gone: what they sent may still arrive."""
        sending = [worker for worker in self.workers if worker.wire]
        if sending:
            worker = self.random.choice(sending)
            if not worker.alive:
                self.world.count("messages of the dead")
            worker.land()

    def _acknowledge(self) -> None:
        if (worker := self._worker()) and worker.landed:
            worker.acknowledge()

    def _crash(self) -> None:
        if worker := self._worker():
            self.world.count("crashes")
            worker.crash(lost=self.random.random() < 0.5)

    def _refuse(self) -> None:
        """The broker refuses a message: the writer ends."""
        if (worker := self._worker()) and worker.wire:
            self.world.count("refused")
            worker.crash(lost=True)

    def _change_settings(self) -> None:
        self._setup = self._new_setup()

    def _retain(self) -> None:
        """Retention deletes what was committed, and blocks that no restart needs."""
        for log, committed in zip(self.world.inputs, self.world.committed, strict=True):
            log.first = max(log.first, committed)
        blocks = counting_blocks(self.world.labelled)
        if blocks:
            needed = min(blocks[-1][0].recovery_point.offset, self.learner.saved_to)
            self.world.labelled_first = max(self.world.labelled_first, needed)

    def _learn(self) -> None:
        for _ in range(self.random.randint(1, 5)):
            self.learner.read()

    def _save(self) -> None:
        self.learner.save()

    def _kill_learner(self) -> None:
        self.learner.kill()

    def _finish(self) -> None:
        for worker in self.workers:
            if worker.alive:
                worker.crash(lost=self.random.random() < 0.5)
        for log in self.world.inputs:
            log.end = log.messages
        last = JoinWorker(self.world, self._setup, "last writer")
        flushed = False
        while last.wire or last.landed or last.asked or not flushed:
            while last.wire:
                last.land()
            while last.landed:
                last.acknowledge()
            while last.asked:
                last.answer()
            last.read(0, 12)
            last.read(1, 12)
            done = last.at is not None and all(
                at >= log.end for at, log in zip(last.at, self.world.inputs, strict=True)
            )
            last.advance((True, True), flush=done and not flushed)
            flushed = flushed or done
        assert last.alive
        while self.learner.read():
            pass
