"""Load that does not end, and random faults: `python -m tests.system.kafka.soak [--minutes 10]`.

One join worker lives from the first minute to the last; a second one, the learner, the clicks and
the broker come and go. In the end all is right, nothing is left to read, and memory has not grown.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.system.kafka.broker import Broker
from tests.system.kafka.jars import fetched
from tests.system.kafka.stage import SESSION_S, JoinWorker, Stage, compile_kernels, joining
from tests.system.kafka.workers.child import Child

PAUSES_S = 8.0, 20.0  # between two faults
SAMPLE_S = 1.0
MOST_GROWTH = 1.1
LEARNERS_UNTIL = 0.5  # of the time: the last learner lives on, so that its memory can be judged


class Soak:
    """The loop under load, and what can be done to it."""

    def __init__(self, stage: Stage, broker: Broker) -> None:
        self._stage = stage
        self._broker = broker
        self._second: JoinWorker | None = None
        self.steady: Child = stage.worker()
        self.learner: Child = stage.learner()
        self.memory: dict[Child, list[int]] = {self.steady: [], self.learner: []}

    def faults(self, learners: bool) -> list[Callable[[], None]]:
        """What may happen next; learners: also to the learner."""
        always = [self.stall, self.poison, self.pause_broker, self.restart_broker]
        second = [self.come] if self._second is None else [self.leave, self.die, self.sleep]
        return always + second + ([self.replace_learner] if learners else [])

    def wait(self, seconds: float) -> None:
        """Let time pass, and note how much memory is used. AssertionError if a worker ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for one in (self.steady, self.learner):
                assert one.process.poll() is None, one.said
                self.memory[one].append(one.resident_bytes)
            time.sleep(SAMPLE_S)

    def stall(self) -> None:
        """The clicks stay away for a while."""
        self._stage.clicks_flow.clear()
        self.wait(5)
        self._stage.clicks_flow.set()

    def poison(self) -> None:
        """Messages that nobody can read."""
        for source in (0, 1):
            self._stage.spoil(source, b"{")

    def pause_broker(self) -> None:
        """It does not answer for longer than the session timeout."""
        self._broker.pause()
        self.wait(SESSION_S + 2)
        self._broker.resume()

    def restart_broker(self) -> None:
        """It is killed, and comes back."""
        self._broker.kill()
        self._broker.start()

    def come(self) -> None:
        """A second join worker."""
        self._second = self._stage.worker()

    def leave(self) -> None:
        """It stops in good order."""
        assert self._second is not None
        self._second.stop()
        self._second = None

    def die(self) -> None:
        """It is killed."""
        assert self._second is not None
        self._second.kill()
        self._second = None

    def sleep(self) -> None:
        """It falls asleep, and goes on when its partitions are another's."""
        assert self._second is not None
        self._second.signal(signal.SIGSTOP)
        self.wait(SESSION_S + 2)
        self._second.signal(signal.SIGCONT)

    def replace_learner(self) -> None:
        """The learner is killed, and another takes its place."""
        self.learner.kill()
        self.learner = self._stage.learner()
        self.memory[self.learner] = []


def growth(samples: list[int]) -> tuple[float, float]:
    """Bytes in use in the second quarter of a life, and in the last: medians."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return statistics.median(early), statistics.median(late)


def main() -> None:
    """Print what happened; exit with 1 if something is wrong after it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_kernels(folder)
        broker = Broker(fetched(), folder / "broker")
        broker.start()
        try:
            ok = _soak(broker, folder, args.minutes * 60, args.seed)
        finally:
            broker.kill()
    sys.exit(not ok)


def _soak(broker: Broker, folder: Path, seconds: float, seed: int) -> bool:
    with Stage(joining(broker.address), folder, seed) as stage:
        soak = Soak(stage, broker)
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            fault = stage.random.choice(soak.faults(passed < seconds * LEARNERS_UNTIL))
            print(f"{passed:4.0f} s: {fault.__doc__}", file=sys.stderr)
            stage.sent[fault.__name__] += 1
            fault()
            soak.wait(stage.random.uniform(*PAUSES_S))
        memory = [growth(soak.memory[one]) for one in (soak.steady, soak.learner)]
        ended = time.monotonic()
        happened = stage.finish()
        took = time.monotonic() - ended
    table = Table("what", "times", box=None)
    for what, times in sorted(happened.items()):
        table.add_row(what, f"{times:,}")
    Console().print(table)
    print(f"all is joined and learned, nothing left to read: {took:.0f} s after the load's end")
    for (early, late), who in zip(memory, ("join worker", "learner"), strict=True):
        print(f"memory of the {who}: {early / 2**20:.0f} MiB early, {late / 2**20:.0f} MiB late")
    return all(late <= early * MOST_GROWTH for early, late in memory)


if __name__ == "__main__":
    main()
