"""Waiting for what happens in other threads and processes."""

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 30.0


def eventually(what: Callable[[], bool], patience: float = PATIENCE_S) -> None:
    """Wait until `what` holds; AssertionError if it does not in time."""
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def is_stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped, or gone."""
    return all(map(_is_stopped, Path(f"/proc/{pid}/task").iterdir()))


def _is_stopped(thread: Path) -> bool:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TXZ"
    except (FileNotFoundError, ProcessLookupError):
        return True
