"""The watchdog ends a worker that is stuck: there is work to do, and for long none was done.

It looks from a thread of its own, so that a blocked event loop does not blind it.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streams.duration import readable
from streams.errors import ClickloopError

LOOKS = 20  # before a worker counts as stuck
BEAT_S = 0.25


@dataclass(frozen=True, slots=True)
class Probe:
    """A kind of work that is watched. Its functions are called from the watchdog's thread.

    what: the stall in words, for the last message. pending: how much there is to do. done: how
    much was done ever.
    """

    what: str
    pending: Callable[[], int]
    done: Callable[[], int]


class StallDetector:
    """Decides for how long one kind of work has been stuck. The clock is passed in."""

    def __init__(self, longest_pause: float) -> None:
        """longest_pause: seconds between two looks that count; more: this process slept as well."""
        self._longest_pause = longest_pause
        self._looked: float | None = None
        self._done: int | None = None
        self._stuck = 0.0

    def look(self, now: float, pending: int, done: int) -> float:
        """Seconds for which there was work to do and none was done. now: of a steady clock."""
        passed = 0.0 if self._looked is None else min(now - self._looked, self._longest_pause)
        self._looked = now
        if pending <= 0 or done != self._done:
            self._done = done
            self._stuck = 0.0
        else:
            self._stuck += passed
        return self._stuck


class Watchdog:
    """A thread that ends the process, with exit code 1 and one line that says why."""

    def __init__(self, stuck_after: int, probes: Sequence[Probe]) -> None:
        """stuck_after: ms. The event loop that starts it is watched as well."""
        self._beats = 0
        self._beating: asyncio.Task[None] | None = None
        self._limit = stuck_after / 1000
        self._probes = (*probes, Probe("its event loop is blocked", lambda: 1, lambda: self._beats))
        self._over = threading.Event()

    async def start(self) -> None:
        """Watch from now on."""
        self._beating = asyncio.create_task(self._beat())
        threading.Thread(target=self._look, name="clickloop-watchdog", daemon=True).start()

    async def stop(self) -> None:
        """Watch no longer."""
        self._over.set()
        if self._beating is not None:
            self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._beats += 1

    def _look(self) -> None:
        pause = self._limit / LOOKS
        watched = [(probe, StallDetector(2 * pause)) for probe in self._probes]
        while not self._over.wait(pause):
            now = time.monotonic()
            for probe, detector in watched:
                if detector.look(now, probe.pending(), probe.done()) >= self._limit:
                    _end(f"{probe.what}, for {readable(int(self._limit * 1000))} now")


def _end(reason: str) -> None:
    print(
        f"clickloop: this worker is stuck: {reason} ([worker] stuck_after); ended, so that it can "
        "be started again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(ClickloopError.exit_code)
