"""What may befall the workers, each as a short scenario; all end in the same check."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.waiting import eventually
from tests.system.kafka.broker import Broker
from tests.system.kafka.jars import fetched
from tests.system.kafka.pipeline import produce
from tests.system.kafka.stage import SESSION_S, Stage, joining
from tests.system.kafka.topics import set_topic
from tests.system.kafka.workers import join, learner

QUICK_SESSION_S = 2.0
STEPS_WITHIN_S = 180.0
JOIN_STEPS = [step for step in join.STEPS if step != "spill"]
CLAIMING = ("claim", "claimed")
LEARN_STEPS = list(learner.STEPS)
WRITES = ("page", "array", "commit", "version")  # of the learner's steps

Scenario = Callable[[str, Path, int], Counter[str]]


def undisturbed(address: str, folder: Path, seed: int) -> Counter[str]:
    """Nothing happens to the workers: the whole loop as it mostly runs."""
    with Stage(joining(address), folder, seed) as stage:
        stage.worker()
        stage.learner()
        stage.until_more()
        return stage.finish()


def killed(address: str, folder: Path, seed: int) -> Counter[str]:
    """A worker is killed again and again, and another takes its place."""
    with Stage(joining(address), folder, seed) as stage:
        stage.learner()
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
        claims = stage.claims()
        second = stage.worker()
        stage.until_claimed(claims)
        stage.until_more(20)
        claims = stage.claims()
        second.stop()
        stage.until_claimed(claims)
        stage.sent["rebalances"] += 2
        stage.until_more(10)
        return stage.finish()


def zombie(address: str, folder: Path, seed: int) -> Counter[str]:
    """A worker sleeps with a block in hand, and sends it when its partitions are another's."""
    with Stage(joining(address), folder, seed) as stage:
        stage.learner()
        first = stage.worker(hurt=f"block:{stage.random.randint(6, 20)}:sleep")
        eventually(lambda: first.is_asleep)
        stage.worker()
        stage.until_more(6)
        first.signal(signal.SIGCONT)
        stage.sent["zombies"] += 1
        eventually(lambda: stage.void_blocks() > 0)
        first.kill()
        stage.until_more(6)
        return stage.finish()


def learner_killed(address: str, folder: Path, seed: int) -> Counter[str]:
    """The learner is killed again and again, and another takes its place."""
    with Stage(joining(address), folder, seed) as stage:
        stage.worker()
        for _ in range(3):
            victim = stage.learner()
            victim.until_more_than(len(victim.trained()) + stage.random.randint(1, 200))
            time.sleep(stage.random.random())
            victim.kill()
            stage.sent["kills"] += 1
        return stage.finish()


def both_killed_at_every_step(address: str, folder: Path, seed: int) -> Counter[str]:
    """Join workers die at each step of their cycle, and learners at each of theirs."""
    quickly = {"session_timeout": QUICK_SESSION_S}
    with Stage(joining(address, partitions=1, app=quickly), folder, seed) as stage:
        left = {stage.worker: list(JOIN_STEPS), stage.learner: list(LEARN_STEPS)}
        dying = {start: start(hurt=_death(steps.pop(0), stage)) for start, steps in left.items()}
        deadline = time.monotonic() + STEPS_WITHIN_S
        while dying:
            assert time.monotonic() < deadline, [one.said for one in dying.values()]
            time.sleep(0.1)
            for start, one in list(dying.items()):
                if one.process.poll() is None:
                    continue
                assert one.ended() == -signal.SIGKILL, one.said
                stage.sent["kills"] += 1
                if left[start]:
                    dying[start] = start(hurt=_death(left[start].pop(0), stage))
                else:
                    del dying[start]
                    start()
        return stage.finish()


def _death(step: str, stage: Stage) -> str:
    """At the first or second time; a worker claims a partition only once."""
    return f"{step}:{1 if step in CLAIMING else stage.random.randint(1, 2)}"


def disk_fills(address: str, folder: Path, seed: int) -> Counter[str]:
    """A disk is full: the worker that needs it ends and says so; when there is room it goes on."""
    with Stage(joining(address, spill_bytes=10_000), folder, seed) as stage:
        joins = stage.worker(hurt=f"spill:{stage.random.randint(1, 9)}:full")
        assert joins.ended(90) == 1, joins.said
        assert "[spill] folder" in joins.said, joins.said
        stage.worker()
        learns = stage.learner(hurt=f"{stage.random.choice(WRITES)}:2:full")
        assert learns.ended(90) == 1, learns.said
        assert str(folder) in learns.said.splitlines()[-1], learns.said
        for each in (joins, learns):
            assert each.said.splitlines()[-1].startswith("clickloop: "), each.said
            stage.sent["full disks"] += 1
        stage.learner()
        stage.until_more()
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
            stage.learner()
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
    "a join worker is killed": (killed, ("kills", "joined corrections", "late clicks")),
    "the learner is killed": (learner_killed, ("kills", "joined corrections")),
    "both are killed at every step": (both_killed_at_every_step, ("kills", "joined corrections")),
    "a second worker comes and goes": (joined_and_left, ("rebalances", "joined duplicates")),
    "a zombie wakes up": (zombie, ("zombies", "void blocks")),
    "the clicks stall": (clicks_stall, ("stalls", "joined positives")),
    "poison messages": (poison, ("dead letters",)),
    "a clock jumps": (clock_jump, ("too far ahead",)),
    "a block is refused": (refused, ("refused",)),
    "a disk is full": (disk_fills, ("full disks",)),
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
