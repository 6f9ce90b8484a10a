"""Messages of the labelled topic: what their headers say, and which messages count.

A partition of the topic is one log with, at any moment, one writer that counts. A writer begins
with a claim. Then the writer appends blocks of labelled examples. Each block continues the one
before it, and says how far in the two input logs the joiner had come, so that another can go on.

    Claim           from here on no other writer's blocks count
    Block           the next examples; the first block of a cut carries the `Cut`
    FencingFilter   the one rule of which blocks count, for the joiner and the learner alike

Photon (SIGMOD 2013) keeps the ids already joined in a registry of its own; here the output log
itself is the registry. Fencing by a number that a new owner raises is Kafka's own way with
transactional producers (KIP-98).
"""

from typing import Any, TypeAlias

import msgspec

from streams.errors import DataError
from streams.position import RowPosition

HEADER_NAME = "clickloop"  # the Kafka header that holds a claim or a block
FORMAT = 1


class Stop(msgspec.Struct, frozen=True, array_like=True):
    """The end of a step: the positions of the last rows read of both logs, and which was idle.

    The events between two stops are those of both logs, merged by time. idle: bits, since the stop
    before: 1 the impressions held nothing back, 2 the clicks held nothing back, 4 this held also
    while the breaker was open.
    """

    impressions: RowPosition
    clicks: RowPosition
    idle: int


class Cut(msgspec.Struct, frozen=True):
    """A point in the two input logs, and the joiner's state there.

    steps: the steps since the cut before. passed: a bit for each impression row of the steps, set
    if the row was not accepted (a duplicate, or too late). met: a bit for each click row, set if
    the click did not begin to wait. newest: greatest time of each log, ms. retain_until: once the
    joiner's watermark has passed this time by W + max(H, D), no row up to the cut can matter, ms.
    oldest_open: the position of the first impression that is still open. joiner: the joiner's plain
    state: settings, counts, watermarks, breaker. rows: how many rows of each log the steps had;
    None in cuts of versions that did not say.
    """

    steps: tuple[Stop, ...]
    passed: bytes
    met: bytes
    newest: tuple[int | None, int | None]
    retain_until: int = msgspec.field(name="until")
    oldest_open: RowPosition | None = msgspec.field(name="undecided")
    joiner: dict[str, Any]
    rows: tuple[int, int] | None = None

    @property
    def end(self) -> Stop:
        """Where the cut is."""
        return self.steps[-1]


class RecoveryPoint(msgspec.Struct, frozen=True):
    """Where a restart begins: no message before it is needed.

    offset, number: of the first block of a cut, from which the joiner's state at the cut's end is
    known; with number 0, of the claim that begins the log. impressions, clicks: the rows after
    these positions are read again.
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

    writer: the writer's random name. claim: the offset of the writer's claim. seen: the greatest
    offset up to which the writer knows that no other has claimed the partition. number: 1 for the
    first block of the partition, 1 more for each. recovery_point: of a restart after this block.
    rows: how many examples the block holds. complete: whether it is the last block of its cut. cut:
    in the first block of a cut, else None.
    """

    writer: str
    claim: int
    seen: int
    number: int
    recovery_point: RecoveryPoint = msgspec.field(name="base")
    rows: int
    complete: bool
    cut: Cut | None
    format: int = FORMAT


Header: TypeAlias = Claim | Block

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Header] = msgspec.json.Decoder(Header)


class Entry(msgspec.Struct, frozen=True):
    """A message of the labelled topic: its offset and its header; None: it is not one of ours."""

    offset: int
    header: Header | None


def encode(header: Header) -> bytes:
    """The value of the Kafka header."""
    return _encoder.encode(header)


def decode(value: bytes, where: str) -> Header:
    """A claim or a block from its header. Raises DataError naming `where` if it is neither."""
    try:
        header = _decoder.decode(value)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise DataError(
            f"{where}: the header {HEADER_NAME!r} cannot be read ({error}). Was it written by a "
            "newer clickloop, or by something else? Upgrade, or use a topic of its own."
        ) from None
    if header.format != FORMAT:
        raise DataError(
            f"{where}: a block of format {header.format}, this program reads {FORMAT}; "
            "use the program that wrote it, or a newer one"
        )
    return header


class FencingFilter:
    """Tells which blocks of a partition count; takes the partition's messages in order.

    A block counts if no other writer has claimed the partition since the block's writer did. claim:
    the offset of the claim that holds, -1 if none was seen. number: of the last block that counted;
    None before the first.
    """

    def __init__(self, claim: int = -1, number: int | None = None) -> None:
        """claim, number: where an earlier reader of the partition ended, to go on after it."""
        self.claim = claim
        self.number = number

    def take(self, entry: Entry) -> Block | None:
        """The block of this message, if the block counts and was not taken before.

        Raises DataError if blocks are missing before the block.
        """
        header = entry.header
        if isinstance(header, Claim):
            self.claim = entry.offset
            return None
        if header is None or header.claim < self.claim:
            return None
        # A reader that begins after a claim learns of it from the blocks.
        self.claim = header.claim
        if self.number is not None:
            if header.number <= self.number:
                return None
            if header.number > self.number + 1:
                raise DataError(
                    f"the labelled topic, offset {entry.offset}: block {header.number} follows "
                    f"block {self.number}; those between are missing. Were they deleted by the "
                    "topic's retention? It must be longer than any reader is away."
                )
        self.number = header.number
        return header
