"""Messages of the labelled topic: what their headers say, and which of them count.

A partition of the topic is one log with, at any moment, one writer that counts. A writer begins
with a claim. Then it appends blocks of labelled examples; each continues the one before it and
tells how far in the two input logs the joiner had come, so that another can go on from there.

    Claim       from here on nobody else's blocks count
    Block       the next examples; the first block of a cut carries the `Cut`
    Lineage     the one rule of which blocks count, for the joiner and the learner alike

Photon (SIGMOD 2013) keeps the ids already joined in a registry of its own; here the output log
itself is the registry.
"""

from typing import Any, TypeAlias

import msgspec

from streams.errors import DataError
from streams.position import RowPosition

HEADER = "clickloop"  # the Kafka header that holds a claim or a block
FORMAT = 1


class Stop(msgspec.Struct, frozen=True, array_like=True):
    """The end of a step: places of the last rows read of both logs, and which log was idle.

    The events between two stops are those of both logs, merged by time. idle: whether from the
    stop before to this one the impressions (1) or the clicks (2) held nothing back, also (4)
    while the breaker was open.
    """

    impressions: RowPosition
    clicks: RowPosition
    idle: int


class Cut(msgspec.Struct, frozen=True):
    """A point in the two input logs, and what the joiner was there.

    steps: those since the cut before. passed: a bit for each impression row of the steps, set
    if it was not accepted (a duplicate, or too late). met: a bit for each click row, set if it
    did not begin to wait. newest: greatest time of each log, ms. until: once the joiner's
    watermark has passed this by W + max(H, D), no row up to here can matter, ms. undecided:
    the place of the first impression that is still open. joiner: its plain state: settings,
    counts, watermarks, breaker. rows: how many of each log the steps had; None: by a writer of a
    version that did not say.
    """

    steps: tuple[Stop, ...]
    passed: bytes
    met: bytes
    newest: tuple[int | None, int | None]
    until: int
    undecided: RowPosition | None
    joiner: dict[str, Any]
    rows: tuple[int, int] | None = None

    @property
    def end(self) -> Stop:
        """Where the cut is."""
        return self.steps[-1]


class Base(msgspec.Struct, frozen=True):
    """Where a restart begins: nothing before it is needed.

    offset, number: of the first block of a cut, by which the joiner's state at its end is known;
    or, with number 0, of the claim that begins the log. impressions, clicks: the rows after these
    places are read again.
    """

    offset: int
    number: int
    impressions: RowPosition
    clicks: RowPosition


class Claim(msgspec.Struct, frozen=True, tag="claim"):
    """A writer takes over the partition."""

    writer: str
    format: int = FORMAT


class Block(msgspec.Struct, frozen=True, tag="block"):
    """Some examples of a cut.

    writer: its random name. claim: the offset of its claim. seen: the greatest offset up to
    which the writer knows that nobody claimed the partition after it. number: 1 for the first
    block of the partition, 1 more for each. base: for a restart after this block. rows: how
    many examples it holds. complete: whether it is the last of its cut. cut: with the first of
    its cut.
    """

    writer: str
    claim: int
    seen: int
    number: int
    base: Base
    rows: int
    complete: bool
    cut: Cut | None
    format: int = FORMAT


Message: TypeAlias = Claim | Block

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class Entry(msgspec.Struct, frozen=True):
    """A message of the labelled topic at its offset; None: not one of ours."""

    offset: int
    message: Message | None


def encode(message: Message) -> bytes:
    """The value of the header."""
    return _encoder.encode(message)


def decode(header: bytes, where: str) -> Message:
    """A claim or a block from its header. Raises DataError naming `where` if it is neither."""
    try:
        message = _decoder.decode(header)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise DataError(
            f"{where}: the header {HEADER!r} cannot be read ({error}). Was it written by a newer "
            "clickloop, or by something else? Upgrade, or use a topic of its own."
        ) from None
    if message.format != FORMAT:
        raise DataError(
            f"{where}: a block of format {message.format}, this program reads {FORMAT}; "
            "use the program that wrote it, or a newer one"
        )
    return message


class Lineage:
    """Which blocks of a partition count, its messages taken in order.

    A block counts if nobody has claimed the partition since its writer did. claim: the offset of
    the claim that holds, -1 if none was seen. number: of the last block that counted; None
    before the first.
    """

    def __init__(self, claim: int = -1, number: int | None = None) -> None:
        """What an earlier reader of the partition had come to, to go on after it."""
        self.claim = claim
        self.number = number

    def take(self, entry: Entry) -> Block | None:
        """The block of this message, if it counts and was not taken before.

        Raises DataError if blocks are missing before it.
        """
        message = entry.message
        if isinstance(message, Claim):
            self.claim = entry.offset
            return None
        if message is None or message.claim < self.claim:
            return None
        # A reader that begins after a claim learns of it from the blocks.
        self.claim = message.claim
        if self.number is not None:
            if message.number <= self.number:
                return None
            if message.number > self.number + 1:
                raise DataError(
                    f"the labelled topic, offset {entry.offset}: block {message.number} follows "
                    f"block {self.number}; those between are missing. Were they deleted by the "
                    "topic's retention? It must be longer than any reader is away."
                )
        self.number = message.number
        return message
