"""How a new owner of a partition finds what the joiner before it had come to.

It has claimed the partition. It looks for the last block that counts before its claim, reads the
blocks from that one's base on, and so knows every cut since: the joiner then takes the rows of the
input logs in just the same steps again.
"""

from dataclasses import dataclass, replace

from streams.errors import DataError
from streams.labelled_log import Base, Block, Claim, Cut, Entry, Lineage

FIRST_LOOK = 64  # messages; twice as many each time


@dataclass(frozen=True, slots=True)
class Written:
    """A cut as the labelled topic has it.

    offset, number: of its first block there. rows: how many examples were published.
    complete: whether those are all.
    """

    cut: Cut
    offset: int
    number: int
    rows: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Last:
    """The last block that counts, and its offset; None: there is none yet."""

    offset: int = -1
    block: Block | None = None


def last_block(entries: list[Entry], start: int, beginning: int) -> Last | None:
    """The last block that counts among the messages of the offsets from `start` on.

    beginning: the first offset the topic still has. None: more must be read, from before
    `start`. A block counts if nobody claimed the partition between `seen`, up to where its writer
    knew that nobody had, and its own offset. A claim that retention has deleted is known by the
    blocks of who made it.
    """
    claims = {entry.offset for entry in entries if isinstance(entry.message, Claim)}
    claims |= {entry.message.claim for entry in entries if isinstance(entry.message, Block)}
    for entry in reversed(entries):
        block = entry.message
        if isinstance(block, Block):
            if block.seen + 1 < start and start > beginning:
                return None
            if not any(block.seen < claim < entry.offset for claim in claims):
                return Last(entry.offset, block)
    return Last() if start <= beginning else None


def cuts_since(base: Base, last: Block, entries: list[Entry]) -> tuple[Cut | None, list[Written]]:
    """The cut of the base (None: nothing was read then), and the cuts written after it.

    entries: the messages from the base's offset to the last block that counts, `last`. Raises
    DataError if some of them are gone.
    """
    if not entries or entries[0].offset != base.offset:
        first = entries[0].offset if entries else "none"
        raise DataError(
            f"the labelled topic: a restart needs its messages from offset {base.offset} on, the "
            f"first there is {first}. Its retention must be longer than impressions stay known."
        )
    lineage = Lineage()
    blocks = [(e.offset, block) for e in entries if (block := lineage.take(e)) is not None]
    at_base: Cut | None = None
    if base.number:
        at_base = blocks.pop(0)[1].cut
        while blocks and blocks[0][1].cut is None:
            del blocks[0]
    written: list[Written] = []
    for offset, block in blocks:
        if block.cut is not None:
            written.append(Written(block.cut, offset, block.number, block.rows, block.complete))
        else:
            one = written.pop()
            rows = one.rows + block.rows
            written.append(replace(one, rows=rows, complete=block.complete))
        if block.number == last.number:
            break
    return at_base, written
