"""Which messages of the labelled topic are to be learned from, each exactly once.

The reader's state is saved in the same write as the weights. A learner that comes back reads on
from there, and the reader drops the messages that it has learned from.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streams.arrow_ipc import decode
from streams.labelled_log import Entry, FencingFilter


class DeduplicatingReader:
    """Takes each message of the labelled partitions once, and remembers how far it has read."""

    def __init__(self, partitions: int, saved: Mapping[str, Any] | None = None) -> None:
        """partitions: how many the topic has. saved: what `state` gave.

        Raises ValueError if the topic had another number of partitions when it was saved.
        """
        self._fencing = {partition: FencingFilter() for partition in range(partitions)}
        self._next: dict[int, int] = {}
        if saved is None:
            return
        if saved["partitions"] != partitions:
            raise ValueError(
                f"the learner's state is of a labelled topic with {saved['partitions']} "
                f"partitions, this one has {partitions}; use the topic it was saved with"
            )
        for partition, (next_offset, claim, number) in enumerate(saved["read"]):
            self._fencing[partition] = FencingFilter(claim, number)
            if next_offset is not None:
                self._next[partition] = next_offset

    def next_offset(self, partition: int) -> int | None:
        """The offset to read a partition from; None: from its beginning."""
        return self._next.get(partition)

    def take(self, partition: int, entry: Entry, value: bytes) -> list[pa.RecordBatch]:
        """The examples of the next message, if they are to be learned from.

        Raises DataError if messages are missing before it.
        """
        if entry.offset < self._next.get(partition, 0):
            return []
        block = self._fencing[partition].take(entry)
        self._next[partition] = entry.offset + 1
        if block is None or block.rows == 0:
            return []
        return decode(value, f"the labelled topic, partition {partition}, offset {entry.offset}")

    def state(self) -> dict[str, Any]:
        """How far every partition was read, as plain JSON."""
        read = [
            [self._next.get(partition), fencing.claim, fencing.number]
            for partition, fencing in self._fencing.items()
        ]
        return {"partitions": len(read), "read": read}
