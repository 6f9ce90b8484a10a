"""A worker process under a test's thumb."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually
from tests.system.kafka.workers.child import Child


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


class Worker(Child):
    """A `reader` with its journal, killed at the end of the `with` block."""

    def __init__(self, address: str, group: str, journal: Path, **options: Any) -> None:
        self.journal = journal
        words = (address, group, str(journal), json.dumps(options))
        log = journal.with_suffix(".errors")
        super().__init__("tests.system.kafka.workers.reader", *words, log=log)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

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
            assert self.process.poll() is None, self.said
            return all(self.read_through(topic, n) >= end for n, end in ends.items())

        eventually(there, patience)


def entries(journal: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a journal: of the one being written half may be there already."""
    if journal.exists():
        for line in journal.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)
