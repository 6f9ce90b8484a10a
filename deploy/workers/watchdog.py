"""Ends a worker that is stuck: there is something to do, and for long nothing was done.

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
class Watch:
    """One thing to watch, asked from another thread.

    what: in words, for the last message. pending: how much there is to do. done: how much was
    done ever.
    """

    what: str
    pending: Callable[[], int]
    done: Callable[[], int]


class Patience:
    """The decision for one thing: how long it has been stuck. The clock is passed in."""

    def __init__(self, most: float) -> None:
        """most: seconds between two looks that count; in a longer pause this process slept too."""
        self._most = most
        self._looked: float | None = None
        self._done: int | None = None
        self._stuck = 0.0

    def look(self, now: float, pending: int, done: int) -> float:
        """For how long nothing was done although there was something to do, seconds."""
        passed = 0.0 if self._looked is None else min(now - self._looked, self._most)
        self._looked = now
        if pending <= 0 or done != self._done:
            self._done = done
            self._stuck = 0.0
        else:
            self._stuck += passed
        return self._stuck


class Watchdog:
    """A thread that ends the process, with exit code 1 and one line that says why."""

    def __init__(self, stuck_after: int, watches: Sequence[Watch]) -> None:
        """stuck_after: ms. The event loop that starts it is watched as well."""
        self._beats = 0
        self._beating: asyncio.Task[None] | None = None
        self._limit = stuck_after / 1000
        self._watches = (*watches, Watch("its event loop is blocked", lambda: 1, self._beaten))
        self._over = threading.Event()

    async def start(self) -> None:
        """Watch from now on."""
        self._beating = asyncio.create_task(self._beat())
        threading.Thread(target=self._look, name="clickloop-watchdog", daemon=True).start()

    async def stop(self) -> None:
        """Look away."""
        self._over.set()
        if self._beating is not None:
            self._beating.cancel()

    def _beaten(self) -> int:
        return self._beats

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._beats += 1

    def _look(self) -> None:
        pause = self._limit / LOOKS
        watched = [(watch, Patience(2 * pause)) for watch in self._watches]
        while not self._over.wait(pause):
            now = time.monotonic()
            for watch, patience in watched:
                if patience.look(now, watch.pending(), watch.done()) >= self._limit:
                    _end(f"{watch.what}, for {readable(int(self._limit * 1000))} now")


def _end(reason: str) -> None:
    print(
        f"clickloop: this worker is stuck: {reason} ([worker] stuck_after); ended, so that it can "
        "be started again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(ClickloopError.exit_code)
