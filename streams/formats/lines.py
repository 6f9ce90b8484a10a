"""The lines of a text file, a block at a time.

A line is one record, always: so a bad line cannot disturb its neighbours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I64
from streams.deadletter import RAW_CHARACTERS, raw_line
from streams.formats.gzip_reader import unpacked
from streams.formats.options import DEFAULT, MAX_BLOCK_ROWS, ReadOptions
from streams.record import BadRow

MAX_LINE_BYTES = 1 << 20

_BOM = b"\xef\xbb\xbf"
_NEWLINE, _RETURN, _SPACE = 10, 13, 32


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a file, without blank ones; all of them UTF-8.

    Line i is `data[starts[i]:ends[i]]`, without its line end, and has the number
    `numbers[i]` in the file, counted from 1. bad: the lines left out because they are not
    UTF-8 or too long. intact: `data` holds nothing but these lines and empty ones.
    """

    data: bytes
    starts: I64
    ends: I64
    numbers: I64
    bad: tuple[BadRow, ...]
    intact: bool

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, i: int) -> bytes:
        """The bytes of line i."""
        return self.data[self.starts[i] : self.ends[i]]

    def select(self, index: I64) -> list[bytes]:
        """The lines with these indices."""
        data, starts, ends = self.data, self.starts[index].tolist(), self.ends[index].tolist()
        return [data[start:end] for start, end in zip(starts, ends, strict=True)]

    def joined(self, index: I64) -> bytes:
        """The lines with these ascending indices as one text, a line each."""
        if self.intact and len(index) == len(self):
            return self.data
        if len(index) == 0:
            return b""
        # Lines that follow one another in the file are copied as one piece.
        breaks = np.flatnonzero(np.diff(self.numbers[index]) != 1)
        starts = self.starts[index[np.concatenate([[0], breaks + 1])]].tolist()
        ends = self.ends[index[np.concatenate([breaks, [len(index) - 1]])]].tolist()
        pieces = zip(starts, ends, strict=True)
        return b"\n".join([self.data[start:end] for start, end in pieces])


def read_lines(path: Path, options: ReadOptions = DEFAULT) -> Iterator[Lines]:
    """The lines of a file, about `block_bytes` at a time.

    A byte order mark at the start and a missing end of the last line do not matter. Holds at
    most a block and `MAX_LINE_BYTES`, however long a line is. Raises DataError where the file
    is unreadable or damaged, after all whole lines before that.
    """
    cutter = _LineCutter(min(options.block_rows, MAX_BLOCK_ROWS), options.after)
    for piece in _without_mark(unpacked(path, options.block_bytes, options.advance)):
        yield from cutter.feed(piece)
    yield from cutter.finish()


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, without a byte order mark at their beginning."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(_BOM):
            break
    yield head.removeprefix(_BOM)
    yield from pieces


class _LineCutter:
    """Cuts pieces of bytes at line ends."""

    def __init__(self, rows: int, after: int) -> None:
        self._rows = rows
        self._after = after
        self._number = 1
        self._tail = bytearray()  # of the line that is not yet ended
        self._dropped = 0  # bytes of that line, if it is too long and was thrown away

    def feed(self, piece: bytes) -> Iterator[Lines]:
        end = piece.rfind(b"\n") + 1
        if end == 0:
            self._keep(piece)
            return
        if self._dropped:
            first = piece.find(b"\n") + 1
            self._keep(piece[: first - 1])
            yield from self._end_of_long()
            head, piece, end = b"", piece[first:], end - first
        else:
            head = bytes(self._tail)
            self._tail.clear()
        data = head + piece[:end]
        self._keep(piece[end:])
        yield from self._cut(data)

    def finish(self) -> Iterator[Lines]:
        if self._dropped:
            yield from self._end_of_long()
        elif self._tail:
            yield from self._cut(bytes(self._tail) + b"\n")

    def _keep(self, piece: bytes) -> None:
        if self._dropped:
            self._dropped += len(piece)
            return
        self._tail += piece
        if len(self._tail) > MAX_LINE_BYTES:
            self._dropped = len(self._tail)
            del self._tail[4 * RAW_CHARACTERS :]

    def _end_of_long(self) -> Iterator[Lines]:
        bad = _too_long(self._number, self._dropped, bytes(self._tail))
        none = np.empty(0, np.int64)
        if self._number > self._after:
            yield Lines(b"", none, none, none, (bad,), intact=True)
        self._number += 1
        self._dropped = 0
        self._tail.clear()

    def _cut(self, data: bytes) -> Iterator[Lines]:
        """Blocks of at most so many rows of `data`, which ends with a line end."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
        first, self._number = self._number, self._number + len(ends)
        start = 0
        for row in range(0, len(ends), self._rows):
            block = ends[row : row + self._rows]
            skip = min(max(self._after - (first + row) + 1, 0), len(block))
            if skip:
                start = int(block[skip - 1]) + 1
            stop = int(block[-1]) + 1
            if skip < len(block):
                text = data if stop - start == len(data) else data[start:stop]
                yield checked_lines(text, block[skip:] - start, first + row + skip)
            start = stop


def checked_lines(data: bytes, ends: I64, first: int, *, blank: bool = False) -> Lines:
    """The lines of `data` that end at `ends`, the first of them with number `first`.

    data: ends with a line end. blank: keep lines without anything on them.
    """
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    bad: dict[int, BadRow] = {}
    for i in np.flatnonzero(ends - starts > MAX_LINE_BYTES).tolist():
        beginning = data[starts[i] : starts[i] + 4 * RAW_CHARACTERS]
        bad[i] = _too_long(first + i, int(ends[i] - starts[i]), beginning)
    if not _is_utf8(data):
        for i, error in _decoding_errors(data, ends):
            line = data[starts[i] : ends[i]]
            bad.setdefault(i, _not_utf8(first + i, line, error - int(starts[i])))
    wanted = np.ones(len(ends), np.bool_)
    wanted[list(bad)] = False
    text = np.frombuffer(data, np.uint8)
    ends = ends - ((ends > starts) & (text[ends - 1] == _RETURN))
    intact = not bad
    suspects = np.flatnonzero(wanted & (text[starts] <= _SPACE)).tolist()
    for i in [] if blank else suspects:
        wanted[i] = bool(data[starts[i] : ends[i]].strip())
        intact &= bool(wanted[i] or starts[i] == ends[i])
    numbers = np.arange(first, first + len(ends))
    if not wanted.all():
        starts, ends, numbers = starts[wanted], ends[wanted], numbers[wanted]
    rows = tuple(bad[i] for i in sorted(bad))
    return Lines(data, starts, ends, numbers, rows, intact)


def _is_utf8(data: bytes) -> bool:
    """Whether `data` is UTF-8, by Arrow's check of one string over it: no copy, no object."""
    offsets = np.array([0, len(data)], np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    try:
        pa.Array.from_buffers(pa.string(), 1, buffers).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoding_errors(data: bytes, ends: I64) -> Iterator[tuple[int, int]]:
    """The lines that are not UTF-8, with the index in `data` of their first wrong byte."""
    view, start = memoryview(data), 0
    while start < len(data):
        try:
            str(view[start:], "utf-8")
            return
        except UnicodeDecodeError as error:
            at = start + error.start
            line = int(np.searchsorted(ends, at))
            yield line, at
            start = int(ends[line]) + 1


def _not_utf8(number: int, line: bytes, at: int) -> BadRow:
    found = f"byte {at + 1} of the line, 0x{line[at]:02x}, is not UTF-8"
    return BadRow(number, "invalid_utf8", f"{found}; UTF-8 is expected", raw_line(line))


def _too_long(number: int, size: int, beginning: bytes) -> BadRow:
    detail = f"the line has {size} bytes; at most {MAX_LINE_BYTES} are expected"
    return BadRow(number, "oversized", detail, raw_line(beginning))
