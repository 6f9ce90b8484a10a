"""A run of records of one partition."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol


class Partition(NamedTuple):
    """A partition of a topic. Equal to the tuples that Kafka's clients use for it."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}"


class Message(Protocol):
    """What a consumer hands out; times are milliseconds since the epoch, UTC."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """When it was appended, where the topic says LogAppendTime; else what its sender wrote."""

    @property
    def key(self) -> bytes | None:
        """What its sender partitioned by."""

    @property
    def value(self) -> bytes | None:
        """Its content."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """What its sender put beside it; a name may come more than once."""


@dataclass(frozen=True, slots=True)
class MessageChunk:
    """All records that the log holds from offset `begin` up to, not including, `end`.

    Offsets without a record (marks of transactions, records that compaction removed) are part of
    it, so there may be fewer records than offsets, or none at all. `epoch` tells which assignment
    of partitions it was read under.
    """

    partition: Partition
    begin: int
    end: int
    messages: Sequence[Message]
    epoch: int

    def since(self, offset: int) -> "MessageChunk":
        """Its part from `offset` on; `begin` ≤ `offset` ≤ `end`."""
        kept = [message for message in self.messages if message.offset >= offset]
        return replace(self, begin=offset, messages=kept)


def concat_chunks(chunks: Sequence[MessageChunk]) -> MessageChunk:
    """Chunks that follow one another as one; at least one."""
    if len(chunks) == 1:
        return chunks[0]
    messages = [message for chunk in chunks for message in chunk.messages]
    return replace(chunks[0], end=chunks[-1].end, messages=messages)
