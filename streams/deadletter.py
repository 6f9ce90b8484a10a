"""Dead letters: rows that were refused, each with its position and the reason."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa

from streams.ndjson_writer import NdjsonWriter
from streams.position import RowPosition

Source = Literal["impressions", "clicks"]

# Why the edge refuses a row: the stable names, and what each means.
REASONS = {
    "bad_arrow": "the message is not an Arrow stream, or its columns are not the record's",
    "bad_csv": "the line cannot be read as CSV",
    "bad_json": "the line is not JSON",
    "bad_ts": "`ts` or `impression_ts` is not a whole number of milliseconds, or out of range",
    "duplicate_key": "a member is given twice",
    "empty_id": "`impression_id` is the empty string",
    "id_too_long": "`impression_id` has more than 128 bytes",
    "invalid_utf8": "the line is not UTF-8",
    "missing_features": "there is no `features`",
    "missing_id": "there is no `impression_id`",
    "missing_ts": "there is no `ts`",
    "not_one_object": "the line does not hold exactly one JSON object",
    "out_of_range": "a number is not finite, does not fit 64 bits, or is not allowed there",
    "oversized": "the line is longer than 1 MiB",
    "too_far_ahead": "`ts` is far ahead of the rows that follow, see `[logs]`, or of the time its "
    "message was appended, see `[topics] max_skew`: a wrong clock",
    "unknown_click_type": "`type` is not declared in `[join] click_types`",
    "unknown_content_type": "the message's header `content-type` is neither JSON's nor Arrow's",
    "wrong_columns": "the line has more or fewer cells than the header",
    "wrong_partition": "the id belongs to another partition: another partitioner than Kafka's",
    "wrong_type": "a member has another type than the settings declare",
}
RAW_CHARACTERS = 1000
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that was refused.

    source: the log of the row. file, src_offset, src_row: where the row stands. In files: the
    file's name, its index in the order of reading, and the line (or Parquet row) counted from 1. In
    Kafka: topic and partition (`clicks-3`), the message's offset, the row in it counted from 0.
    reason: a stable name for machines. detail: a sentence for people: which field, what was
    found, what is expected. raw: the first 1000 characters of the row, None if unknown.
    click_type: of a click, its declared type, None if unknown.
    """

    source: Source
    file: str
    src_offset: int
    src_row: int
    reason: str
    detail: str
    raw: str | None = None
    click_type: str | None = None

    @property
    def position(self) -> RowPosition:
        """(src_offset, src_row): the order of dead letters and rows of a source."""
        return self.src_offset, self.src_row


def raw_line(line: bytes) -> str:
    """The beginning of a line of text as a dead letter quotes it; never fails."""
    # A character has at most 4 bytes, so the rest of a huge line need not be decoded.
    return line[: 4 * RAW_CHARACTERS].decode("utf-8", "replace")[:RAW_CHARACTERS]


def raw_row(batch: pa.RecordBatch, row: int) -> str:
    """A row that has no text of its own, as JSON of its columns that are not null."""
    columns = batch.slice(row, 1).to_pylist()[0].items()
    present = {name: value for name, value in columns if value is not None}
    return json.dumps(present, ensure_ascii=False, default=str)[:RAW_CHARACTERS]


def shown(value: object) -> str:
    """A value as a sentence quotes it: JSON, cut after 60 characters, nothing invisible in it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isprintable():
        text = json.dumps(value, default=str)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return text[:_SHOWN_CHARACTERS] + "…"


class DeadLetterWriter(NdjsonWriter):
    """Dead letters as NDJSON, flushed after every call."""

    def write(self, dead_letters: tuple[DeadLetter, ...]) -> None:
        """Append the dead letters in their order."""
        if dead_letters:
            self.append(asdict(dead_letter) for dead_letter in dead_letters)
