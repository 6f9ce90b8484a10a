"""What may befall a join worker, each as a short scenario; all end in the same check."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.kafka.broker import Broker
from tests.kafka.jars import fetched
from tests.kafka.pipeline import produce
from tests.kafka.stage import SESSION_S, Stage, joining
from tests.kafka.topics import set_topic

MOST_TRIES = 4

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
        for _ in range(MOST_TRIES):
            # One that gathers for long has something in hand whenever it falls asleep.
            first = stage.worker(pace=stage.joining.pace | {"linger": 1.0})
            stage.until_more(6)
            first.signal(signal.SIGSTOP)
            stage.worker()
            time.sleep(SESSION_S)
            stage.until_more(6)
            first.signal(signal.SIGCONT)
            stage.sent["zombies"] += 1
            time.sleep(3)
            first.kill()
            if stage.void_blocks():
                break
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


def poison(address: str, folder: Path, seed: int) -> Counter[str]:
    """Messages that nobody can read, among the others."""
    with Stage(joining(address), folder, seed) as stage:
        stage.worker()
        stage.until_more()
        for value in (b"{", b"\xff\xfe", b"[]", b'{"impression_id": 7, "ts": 1}', b"", b"null"):
            for source in (0, 1):
                stage.spoil(source, value)
        stage.until_more(10)
        happened = stage.finish()
        happened["dead letters"] = len(stage.dead_letters())
        return happened


def clock_jump(address: str, folder: Path, seed: int) -> Counter[str]:
    """A producer's clock is a day ahead: nothing else is late because of it."""
    with Stage(joining(address), folder, seed) as stage:
        stage.worker()
        stage.until_more()
        tomorrow = int(time.time() * 1000) + 86_400_000
        for source in (0, 1):
            produce(stage.joining, source, [{"impression_id": "x", "ts": tomorrow, "features": {}}])
        stage.until_more(10)
        happened = stage.finish()
        reasons = [letter["reason"] for letter in stage.dead_letters()]
        happened["too far ahead"] = reasons.count("too_far_ahead")
        return happened


def refused(address: str, folder: Path, seed: int) -> Counter[str]:
    """The broker refuses a block: the worker ends and says why; the topic is set right."""
    with Stage(joining(address), folder, seed, labelled_bytes=1_500) as stage:
        worker = stage.worker()
        assert worker.process.wait(90) != 0
        assert "MessageSizeTooLarge" in worker.said, worker.said
        stage.sent["refused"] += 1
        set_topic(address, stage.joining.topics.labelled, max_message_bytes="1000000")
        stage.worker()
        stage.until_more()
        return stage.finish()


def broker_restarts(address: str, folder: Path, seed: int) -> Counter[str]:
    """The broker is killed, and comes back; later it does not answer for a while."""
    del address
    broker = Broker(fetched(), folder / "broker", quick=True)
    broker.start()
    try:
        with Stage(joining(broker.address), folder, seed) as stage:
            stage.worker()
            stage.until_more()
            broker.kill()
            broker.start()
            stage.sent["broker restarts"] += 1
            stage.until_more()
            broker.pause()
            time.sleep(SESSION_S + 2)
            broker.resume()
            stage.sent["broker pauses"] += 1
            stage.until_more()
            return stage.finish()
    finally:
        broker.kill()


# What each must have produced, or it has shown nothing.
SCENARIOS: dict[str, tuple[Scenario, tuple[str, ...]]] = {
    "a worker is killed": (killed, ("kills", "joined corrections", "late clicks")),
    "a second worker comes and goes": (joined_and_left, ("rebalances", "joined duplicates")),
    "a zombie wakes up": (zombie, ("zombies", "void blocks")),
    "the clicks stall": (clicks_stall, ("stalls", "joined positives")),
    "poison messages": (poison, ("dead letters",)),
    "a clock jumps": (clock_jump, ("too far ahead",)),
    "a block is refused": (refused, ("refused",)),
    "the broker restarts": (broker_restarts, ("broker restarts", "broker pauses")),
}


def run(name: str, address: str, folder: Path, seed: int) -> Counter[str]:
    """What happened in a scenario. Raises AssertionError if something is wrong after it, or if it
    has produced nothing of what it is about.
    """
    scenario, asked = SCENARIOS[name]
    happened = scenario(address, folder, seed)
    missing = [what for what in asked if not happened[what]]
    assert not missing, f"{name}, seed {seed}: produced no {missing}: {dict(happened)}"
    return happened
