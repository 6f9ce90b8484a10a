"""A worker process under a test's thumb."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kafka.topics import eventually

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Read:
    """A chunk that a worker wrote down, and which worker that was."""

    pid: int
    epoch: int
    topic: str
    number: int
    begin: int
    end: int
    offsets: list[int]
    values: list[int]


class Worker:
    """A `reader` with its journal, killed at the end of the `with` block."""

    def __init__(self, address: str, group: str, journal: Path, **options: Any) -> None:
        self.journal = journal
        self._errors = journal.with_suffix(".errors")
        command = [sys.executable, "-m", "tests.kafka.workers.reader"]
        command += [address, group, str(journal), json.dumps(options)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                command, cwd=journal.parent, env=environment, stdout=errors, stderr=errors
            )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def errors(self) -> str:
        """What it wrote to its standard streams."""
        return self._errors.read_text()

    def lines(self, what: str) -> list[dict[str, Any]]:
        """The journal's lines of one kind, of all workers that write to it."""
        return [line for line in entries(self.journal) if line["what"] == what]

    def chunks(self) -> list[Read]:
        """The chunks read, in the order in which they were."""
        names = Read.__dataclass_fields__
        return [Read(**{name: line[name] for name in names}) for line in self.lines("chunk")]

    def read_through(self, topic: str, number: int) -> int:
        """The offset after the last one read of a partition."""
        return max(
            (c.end for c in self.chunks() if (c.topic, c.number) == (topic, number)), default=0
        )

    def until(self, topic: str, ends: dict[int, int], patience: float = 30.0) -> None:
        """Wait until these partitions are read to these offsets."""

        def there() -> bool:
            assert self._process.poll() is None, self.errors
            return all(self.read_through(topic, n) >= end for n, end in ends.items())

        eventually(there, patience)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT and the like."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9; harmless if it has ended."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> float:
        """SIGTERM: how many seconds it took to end, which it must do with exit code 0."""
        begun = time.monotonic()
        self._process.terminate()
        code = self._process.wait(60)
        assert code == 0, self.errors
        return time.monotonic() - begun

    def ended(self, patience: float = 40.0) -> int:
        """Wait until it ends by itself: its exit code."""
        return self._process.wait(patience)


def entries(journal: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a journal."""
    if journal.exists():
        for line in journal.read_text().splitlines():
            yield json.loads(line)
