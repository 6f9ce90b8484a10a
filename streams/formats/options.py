"""What all readers of files are told: how much to read at once, and from where."""

from collections.abc import Callable
from dataclasses import dataclass

MAX_BLOCK_ROWS = 1 << 16  # pyarrow's JSON reader takes at most 100,000 rows at once
BLOCK_BYTES = 1 << 20


def _ignore(_: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a file is read; none of it changes what the rows are.

    block_bytes, block_rows: how much is read at once. after: begin after this line (Parquet: row)
    of the file, counted from 1. advance: called with the number of bytes read from the disk.
    """

    block_bytes: int = BLOCK_BYTES
    block_rows: int = MAX_BLOCK_ROWS
    after: int = 0
    advance: Callable[[int], None] = _ignore


DEFAULT = ReadOptions()
