"""The blocks that a writer publishes, until it knows that they count."""

from collections import deque
from collections.abc import Iterator

import pyarrow as pa

from joiner.protocol.config import PartitionConfig
from joiner.protocol.effects import Effect, Publish, ReadLabelled
from streams.arrow_ipc import encode_parts
from streams.errors import ClickloopError, DataError
from streams.labelled_log import Block, Claim, Cut, Entry, RecoveryPoint

MAX_IN_FLIGHT = 16  # blocks published and not acknowledged


class FencedError(ClickloopError):
    """Another writer has claimed the partition: what this one published since is void."""


class BlockWriter:
    """Publishes the blocks of one writer, and finds out which of them count.

    The offsets of acknowledgements follow one another unless somebody else wrote to the partition.
    The messages between them are foreign: they must be read, for one may be another's claim. An
    acknowledged block counts once all foreign messages before it were read.
    """

    def __init__(self, config: PartitionConfig, writer: str, claim: int, number: int) -> None:
        """writer: a random name. claim: the offset of its claim. number: of the last block."""
        self._schema = config.schema.labelled
        self._limit = config.max_message_bytes
        self._writer = writer
        self._claim = claim
        self._number = number
        self._acknowledged = claim  # the last offset that this writer wrote
        self._in_flight: deque[Block] = deque()
        self._foreign: deque[ReadLabelled] = deque()  # foreign messages that were not read yet
        self._landed: deque[tuple[int, Block]] = deque()  # acknowledged, not known to count

    @property
    def in_flight(self) -> int:
        """Blocks published and not acknowledged."""
        return len(self._in_flight)

    @property
    def is_full(self) -> bool:
        """Whether so many blocks are in flight that no more should be published."""
        return len(self._in_flight) >= MAX_IN_FLIGHT

    def publish(
        self, cut: Cut | None, labelled: list[pa.RecordBatch], recovery_point: RecoveryPoint
    ) -> list[Effect]:
        """Publish the blocks of a cut, or (cut None) the blocks that a cut is missing.

        Raises DataError if one row is too large for a message.
        """
        parts = encode_parts(labelled, self._schema, self._limit) if labelled else [(0, b"")]
        effects: list[Effect] = []
        for part, (rows, value) in enumerate(parts):
            self._number += 1
            block = Block(
                writer=self._writer,
                claim=self._claim,
                seen=self._foreign[0].start - 1 if self._foreign else self._acknowledged,
                number=self._number,
                recovery_point=recovery_point,
                rows=rows,
                complete=part + 1 == len(parts),
                cut=cut if part == 0 else None,
            )
            self._in_flight.append(block)
            effects.append(Publish(block, value))
        return effects

    def acknowledged(self, offset: int) -> list[Effect]:
        """The oldest block in flight is in the log, at `offset`; foreign messages must be read."""
        effects: list[Effect] = []
        if offset > self._acknowledged + 1:
            self._foreign.append(ReadLabelled(self._acknowledged + 1, offset))
            effects.append(self._foreign[-1])
        self._acknowledged = offset
        self._landed.append((offset, self._in_flight.popleft()))
        return effects

    def check_foreign(self, entries: list[Entry], start: int) -> None:
        """Look at the foreign messages from offset `start` on.

        Raises FencedError if one of them is a claim; DataError if some were deleted unread.
        """
        self._foreign.popleft()
        if not entries or entries[0].offset > start:
            raise DataError(
                f"the labelled topic: messages from offset {start} on were deleted before "
                "this worker saw whether one of them was another's claim. Its retention "
                "must be longer than a worker may sleep; start this one again."
            )
        if any(isinstance(entry.header, Claim) for entry in entries):
            raise FencedError(
                "another worker has claimed the partition, after offset "
                f"{start - 1} of the labelled topic; what this one published since is void"
            )

    def counted(self) -> Iterator[tuple[int, Block]]:
        """The blocks, each with its offset, that count since the last call."""
        while self._landed and not self._foreign:
            yield self._landed.popleft()
