"""What may befall a join worker, each as a short scenario; all end in the same check."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.kafka.stage import SESSION_S, Stage, joining

Scenario = Callable[[str, Path, int], Counter[str]]


def killed(address: str, folder: Path, seed: int) -> Counter[str]:
    """A worker is killed again and again, and another takes its place."""
    with Stage(joining(address), folder, seed) as stage:
        for _ in range(3):
            worker = stage.worker()
            stage.until_more(stage.random.randint(4, 12))
            time.sleep(stage.random.random())
            worker.kill()
            stage.sent["kills"] += 1
        stage.worker()
        stage.until_more()
        return stage.finish()


def joined_and_left(address: str, folder: Path, seed: int) -> Counter[str]:
    """A second worker comes under load, and goes."""
    with Stage(joining(address), folder, seed) as stage:
        stage.worker()
        stage.until_more()
        second = stage.worker()
        stage.until_more(20)
        second.stop()
        stage.sent["rebalances"] += 2
        stage.until_more(10)
        return stage.finish()


def zombie(address: str, folder: Path, seed: int) -> Counter[str]:
    """A worker sleeps until its partitions are another's, and then goes on as if nothing was."""
    with Stage(joining(address), folder, seed) as stage:
        first = stage.worker()
        stage.until_more()
        stage.worker()
        stage.until_more()
        first.signal(signal.SIGSTOP)
        time.sleep(SESSION_S + 3)
        stage.until_more(4)
        first.signal(signal.SIGCONT)
        stage.sent["zombies"] += 1
        time.sleep(3)
        stage.until_more(6)
        return stage.finish()


def clicks_stall(address: str, folder: Path, seed: int) -> Counter[str]:
    """The clicks stay away for a while, and then all come at once."""
    with Stage(joining(address), folder, seed) as stage:
        stage.worker()
        stage.until_more(20)
        stage.clicks_flow.clear()
        time.sleep(4)
        stage.clicks_flow.set()
        stage.sent["stalls"] += 1
        stage.until_more(10)
        return stage.finish()


SCENARIOS: dict[str, Scenario] = {
    "a worker is killed": killed,
    "a second worker comes and goes": joined_and_left,
    "a zombie wakes up": zombie,
    "the clicks stall": clicks_stall,
}
