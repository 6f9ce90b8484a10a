"""Decoding the messages of a partition into rows: JSON events, batches in Arrow, or both mixed.

A row's position is its message's offset and its index in the message. The outcome of a message
depends on the message and its append time alone, so a second reading accepts and refuses the same
rows. The reader and the checks of JSON messages are those of lines in files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streams.arrow_batches import concat_batches, empty_batch
from streams.arrow_ipc import ARROW, CONTENT_TYPE, JSON
from streams.compute.arrays import I64
from streams.compute.murmur2 import partitions_of
from streams.deadletter import DeadLetter, shown
from streams.duration import readable
from streams.errors import DataError
from streams.formats.columnar import parse_columns
from streams.formats.lines import Lines, checked_lines
from streams.formats.ndjson import JsonParser
from streams.formats.options import MAX_BLOCK_ROWS
from streams.kafka.arrow_message import ArrowMessage, read_message
from streams.kafka.chunk import Message, Partition
from streams.record import ColumnCheck, ParsedRows, RecordType, RowChunk
from streams.rules import TODAY, RuleNumbers
from streams.validate import MAX_TS, validate

# By the number of the rule `clock`: from `ts` and append time, what moves a log's watermark.
CLOCKS: dict[int, Callable[[I64, I64], I64]] = {1: np.minimum}

_NEWLINE, _TAB = ord("\n"), ord("\t")


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of a partition, in order: the origin of the rows parsed from them.

    offsets, appended: of each message, int64; appended in milliseconds. starts: the number of
    the first row of each, int64.
    """

    name: str
    offsets: I64
    appended: I64
    starts: I64

    def of(self, rows: I64) -> I64:
        """The index of the message that holds the row with each of these numbers."""
        index: I64 = np.searchsorted(self.starts, rows, side="right") - 1
        return index

    def positions(self, rows: I64) -> tuple[I64, I64]:
        """The message's offset, and the row's index in the message."""
        message = self.of(rows)
        return self.offsets[message], rows - self.starts[message]


class Decoder:
    """Reads the messages of one partition of impressions or clicks.

    partitions: of its topic. max_skew: how far beyond its message's append time the `ts` of a row
    may be, in milliseconds. rules: by which the rows are judged.
    """

    def __init__(
        self,
        record: RecordType,
        partition: Partition,
        partitions: int,
        max_skew: int,
        rules: RuleNumbers = TODAY,
    ) -> None:
        self._rules = rules
        self._record = record
        self._partition = partition
        self._partitions = partitions
        self._max_skew = max_skew
        self._parser = JsonParser(record)

    def decode(self, messages: Sequence[Message]) -> RowChunk:
        """The rows of consecutive messages (ascending offsets), and dead letters for refused ones.

        `clock` is the lesser of `ts` and the append time; a message without an append time (-1)
        is taken at its word.
        """
        offsets = np.array([message.offset for message in messages], np.int64)
        appended = np.array([message.timestamp for message in messages], np.int64)
        appended[appended < 0] = MAX_TS
        single, batched, dead_letters = self._kinds(messages)
        chunks = [RowChunk(empty_batch(self._record.arrow), tuple(dead_letters))]
        for start in range(0, len(single), MAX_BLOCK_ROWS):
            chosen = np.array(single[start : start + MAX_BLOCK_ROWS])
            origin = self._origin(offsets[chosen], appended[chosen], np.ones(len(chosen), np.int64))
            chunks.append(
                self._singles([messages[i].value or b"" for i in chosen.tolist()], origin)
            )
        if batched:
            chosen = np.array(batched)
            values = [messages[i].value or b"" for i in batched]
            chunks += self._batches(values, offsets[chosen], appended[chosen])
        rows, rejected = _in_order(chunks, self._record.arrow)
        message = np.searchsorted(offsets, rows.column("src_offset").to_numpy())
        clock = CLOCKS[self._rules.clock](rows.column("ts").to_numpy(), appended[message])
        return RowChunk(rows, rejected, clock)

    def _kinds(self, messages: Sequence[Message]) -> tuple[list[int], list[int], list[DeadLetter]]:
        """The indices of the messages in JSON, of those in Arrow; dead letters for others."""
        kinds = [content_type(message.headers) if message.headers else JSON for message in messages]
        single = [i for i, kind in enumerate(kinds) if kind == JSON]
        batched = [i for i, kind in enumerate(kinds) if kind == ARROW]
        dead_letters = []
        if len(single) + len(batched) < len(kinds):
            for message, kind in zip(messages, kinds, strict=True):
                if kind not in (JSON, ARROW):
                    detail = f"{CONTENT_TYPE} is {shown(kind)}; {JSON} or {ARROW} is expected"
                    dead_letters.append(
                        self._dead_letter(message.offset, "unknown_content_type", detail)
                    )
        return single, batched, dead_letters

    def _singles(self, values: list[bytes], origin: Messages) -> RowChunk:
        return self._validated(self._parser.parse(as_lines(values)), origin)

    def _batches(self, values: list[bytes], offsets: I64, appended: I64) -> list[RowChunk]:
        """Messages in Arrow, parsed together if alike: each call costs more than a row."""
        alike: dict[pa.Schema, list[tuple[int, ArrowMessage]]] = {}
        chunks = []
        for i, value in enumerate(values):
            try:
                message = read_message(value, self._record)
            except DataError as error:
                chunks.append(self._bad(int(offsets[i]), str(error)))
                continue
            if message.valid:
                alike.setdefault(message.rows.schema, []).append((i, message))
            else:
                chunks += self._together([(i, message)], offsets, appended)
        for group in alike.values():
            chunks += self._together(group, offsets, appended)
        return chunks

    def _together(
        self, group: list[tuple[int, ArrowMessage]], offsets: I64, appended: I64
    ) -> list[RowChunk]:
        """The rows of messages that have one schema."""
        index = np.array([i for i, _ in group])
        parts = [message.rows for _, message in group]
        sizes = np.array([len(part) for part in parts], np.int64)
        try:
            rows = concat_batches(parts, parts[0].schema)
            parsed = parse_columns(group[0][1].layout, rows, np.arange(len(rows)))
        except pa.ArrowException as error:  # a value that does not fit, such as a huge timestamp
            if len(group) == 1:
                return [self._bad(int(offsets[index[0]]), f"the message cannot be cast ({error})")]
            each = (self._together([member], offsets, appended) for member in group)
            return [chunk for chunks in each for chunk in chunks]
        return [self._validated(parsed, self._origin(offsets[index], appended[index], sizes))]

    def _validated(self, parsed: ParsedRows, origin: Messages) -> RowChunk:
        more = self._checks(parsed, origin)
        return validate(parsed, self._record, origin, more, self._rules.accept)

    def _checks(self, parsed: ParsedRows, origin: Messages) -> tuple[ColumnCheck, ColumnCheck]:
        """The checks that need a message's append time and partition."""
        ts, ids = parsed.columns["ts"], parsed.columns["impression_id"]
        limit = origin.appended[origin.of(parsed.rows)] + self._max_skew
        ahead = ts.fill_null(0).to_numpy() > limit
        skew = f"at most {readable(self._max_skew)} more than the time its message was appended"
        number = self._partition.number
        foreign = partitions_of(ids, self._partitions) != number
        expected = (
            f"an id of partition {number} of {self._partitions} by Kafka's default partitioner "
            "(with librdkafka, set partitioner=murmur2_random)"
        )
        return (
            ColumnCheck("ts", "too_far_ahead", ahead, ts, skew),
            ColumnCheck("impression_id", "wrong_partition", foreign, ids, expected),
        )

    def _origin(self, offsets: I64, appended: I64, sizes: I64) -> Messages:
        starts = np.cumsum(sizes) - sizes
        return Messages(str(self._partition), offsets, appended, starts)

    def _bad(self, offset: int, detail: str) -> RowChunk:
        dead_letter = self._dead_letter(offset, "bad_arrow", detail)
        return RowChunk(empty_batch(self._record.arrow), (dead_letter,))

    def _dead_letter(self, offset: int, reason: str, detail: str) -> DeadLetter:
        name = str(self._partition)
        return DeadLetter(self._record.source, name, offset, 0, reason, detail)


def content_type(headers: Sequence[tuple[str, bytes]]) -> str:
    """The content type in a message's headers; without one it is JSON."""
    named = JSON
    for name, value in headers:
        if name.lower() == CONTENT_TYPE:
            # Whatever bytes there are; parameters, such as a charset, do not matter.
            named = (value or b"").decode("utf-8", "replace").split(";")[0].strip().lower()
    return named


def as_lines(values: Sequence[bytes]) -> Lines:
    """Messages as lines, numbered from 0.

    A line end in a message becomes a tab: JSON allows and forbids both in the same places.
    """
    data = b"\n".join([*values, b""])
    ends = np.cumsum(np.array([len(value) + 1 for value in values], np.int64)) - 1
    if data.count(b"\n") != len(values):
        text = np.frombuffer(bytearray(data), np.uint8)
        text[text == _NEWLINE] = _TAB
        text[ends] = _NEWLINE
        data = text.tobytes()
    return checked_lines(data, ends, 0, blank=True)


def _in_order(
    chunks: list[RowChunk], schema: pa.Schema
) -> tuple[pa.RecordBatch, tuple[DeadLetter, ...]]:
    """The rows and the dead letters of some chunks, each ordered by position."""
    filled = [chunk.rows for chunk in chunks if len(chunk.rows)]
    rows = concat_batches(filled, schema)
    if len(filled) > 1:
        offsets, numbers = (rows.column(name).to_numpy() for name in ("src_offset", "src_row"))
        rows = rows.take(pa.array(np.lexsort((numbers, offsets))))
    dead_letters = [dead_letter for chunk in chunks for dead_letter in chunk.rejected]
    return rows, tuple(sorted(dead_letters, key=lambda dead_letter: dead_letter.position))
