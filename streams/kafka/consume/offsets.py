"""Which offsets may be committed.

The worker names the offset before which a partition's records are no longer needed; nothing else is
ever committed. Nothing is kept for each chunk, so any number of records may be needed or not.
"""

from collections.abc import Mapping

from streams.kafka.chunk import Partition


class CommitOffsets:
    """The offsets of the partitions that are assigned now."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._read_to: dict[Partition, int] = {}
        self._wanted: dict[Partition, int] = {}
        self._done: dict[Partition, int] = {}

    def begin(self, epoch: int, starts: Mapping[Partition, int]) -> None:
        """Partitions were assigned, each to be read from its start."""
        self._epoch = epoch
        self._read_to = dict(starts)
        self._wanted = {}
        self._done = dict(starts)

    def end(self) -> None:
        """The partitions were taken away: from now on nothing of their epoch counts."""
        self._epoch = None
        self._read_to = {}
        self._wanted = {}
        self._done = {}

    def read(self, partition: Partition, end: int) -> None:
        """Records up to `end` were handed to the worker."""
        self._read_to[partition] = end

    def through(self, partition: Partition, offset: int, epoch: int) -> bool:
        """Let `offset` be committed: no record before it is needed any more.

        False, without effect, if the partition was taken away since `epoch`. An offset lower than
        an earlier one changes nothing. Raises ValueError if `offset` was not yet read.
        """
        if epoch != self._epoch or partition not in self._read_to:
            return False
        if offset > self._read_to[partition]:
            raise ValueError(
                f"{partition}: {offset} is beyond {self._read_to[partition]}, what was read"
            )
        self._wanted[partition] = max(offset, self._wanted.get(partition, offset))
        return True

    def due(self) -> dict[Partition, int]:
        """The offsets to commit now, by partition."""
        return {
            partition: offset
            for partition, offset in self._wanted.items()
            if offset > self._done[partition]
        }

    def done(self, committed: Mapping[Partition, int]) -> None:
        """The broker has stored these offsets; those of partitions that have gone are ignored."""
        for partition, offset in committed.items():
            if partition in self._done:
                self._done[partition] = max(offset, self._done[partition])
