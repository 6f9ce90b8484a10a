"""Consecutive messages of one partition, handed over together."""

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
    """A message (Kafka's record) as consumers hand it out; times are ms since the epoch, UTC."""

    @property
    def offset(self) -> int:
        """The message's offset in its partition."""

    @property
    def timestamp(self) -> int:
        """When the message was appended (topics with LogAppendTime); else what its sender wrote."""

    @property
    def value(self) -> bytes | None:
        """The message's content."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The message's headers: names and values; a name may come more than once."""


@dataclass(frozen=True, slots=True)
class MessageChunk:
    """All messages that the log holds from offset `begin` up to, not including, `end`.

    Offsets without a message (marks of transactions, messages that compaction removed) are part of
    the chunk, so there may be fewer messages than offsets, or none. epoch: the number of the
    assignment of partitions under which the chunk was read.
    """

    partition: Partition
    begin: int
    end: int
    messages: Sequence[Message]
    epoch: int

    def since(self, offset: int) -> "MessageChunk":
        """The chunk's part from `offset` on; `begin` ≤ `offset` ≤ `end`."""
        kept = [message for message in self.messages if message.offset >= offset]
        return replace(self, begin=offset, messages=kept)


def concat_chunks(chunks: Sequence[MessageChunk]) -> MessageChunk:
    """One chunk of those, at least one, that follow one another."""
    if len(chunks) == 1:
        return chunks[0]
    messages = [message for chunk in chunks for message in chunk.messages]
    return replace(chunks[0], end=chunks[-1].end, messages=messages)
