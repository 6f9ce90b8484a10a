"""Every offset of a partition once and in order."""

from streams.errors import ClickloopError
from streams.kafka.chunk import MessageChunk, Partition


class GapError(ClickloopError):
    """Records that should have come next were skipped."""


class GapDetector:
    """Follows one partition: cuts off what was read before, and refuses gaps."""

    def __init__(self, partition: Partition, start: int) -> None:
        self._partition = partition
        self._expected = start

    def accept(self, chunk: MessageChunk) -> MessageChunk | None:
        """The part of `chunk` that is new; None if the whole chunk was read before.

        Raises GapError if offsets are missing before the chunk.
        """
        if chunk.begin > self._expected:
            raise GapError(
                f"{self._partition}: offsets {self._expected} to {chunk.begin - 1} were skipped: "
                "deleted by the topic's retention before they were read, or lost on the way; "
                "restart the worker, and if it stops again, check the topic's retention"
            )
        if chunk.end <= self._expected:
            return None
        new = chunk if chunk.begin == self._expected else chunk.since(self._expected)
        self._expected = chunk.end
        return new
