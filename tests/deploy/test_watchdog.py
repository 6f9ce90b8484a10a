"""The watchdog: ends what is stuck, and nothing else."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from deploy.workers.watchdog import StallDetector

# (seconds passed, pending, done)
Look = tuple[float, int, int]


def stuck_for(looks: Sequence[Look], most: float = 2.0) -> list[float]:
    """What it decides at each look."""
    detector, now, found = StallDetector(most), 0.0, []
    for passed, pending, done in looks:
        now += passed
        found.append(detector.look(now, pending, done))
    return found


def test_something_to_do_and_nothing_done_counts() -> None:
    assert stuck_for([(1, 5, 7), (1, 5, 7), (1, 9, 7), (1.5, 9, 7)]) == [0, 1, 2, 3.5]


def test_idle_never_counts() -> None:
    assert stuck_for([(1, 0, 7)] * 50) == [0] * 50
    assert stuck_for([(1, 0, 7)] * 50 + [(1, 3, 7)] * 3)[-3:] == [1, 2, 3]


def test_any_progress_starts_anew() -> None:
    rebuilding: list[Look] = [(1.0, 1000, done // 3) for done in range(60)]
    assert max(stuck_for(rebuilding)) == 2


def test_time_in_which_the_process_itself_stood_still_does_not_count() -> None:
    assert stuck_for([(1, 5, 7), (1, 5, 7), (3600, 5, 7), (1, 5, 8)]) == [0, 1, 3, 0]


CHILD = """
import asyncio, sys, time
from deploy.workers.watchdog import Probe, Watchdog

async def main(how):
    done = [0]
    pending = 10 * (how in ("stuck", "busy"))
    probe = Probe("ten letters wait, and none was sent", lambda: pending, lambda: done[0])
    dog = Watchdog(1000, [probe])
    await dog.start()
    if how == "blocked":
        await asyncio.sleep(0.5)
        time.sleep(60)
    for _ in range(25):
        await asyncio.sleep(0.1)
        done[0] += how != "stuck"
    await dog.stop()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("stuck", 1, "this worker is stuck: ten letters wait, and none was sent, for 1s now"),
        ("idle", 0, ""),
        ("busy", 0, ""),
        ("blocked", 1, "this worker is stuck: its event loop is blocked, for 1s now"),
    ],
)
def test_a_real_process(how: str, code: int, says: str) -> None:
    child = [sys.executable, "-c", CHILD, how]
    done = subprocess.run(child, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == (1 if says else 0)
    assert says in done.stderr
