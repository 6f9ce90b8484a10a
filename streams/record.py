"""What a file holds of a record, and what a reader found of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I64, Bool
from streams.compute.murmur3 import fmix64
from streams.deadletter import DeadLetter, Place, Source
from streams.errors import DataError
from streams.schema import EventSchema, Field, ValueType

FEATURES = "features"
REQUIRED = ("impression_id", "ts")
TIMES = ("ts", "impression_ts")

_OWN: dict[Source, dict[str, ValueType]] = {
    "impressions": {
        "impression_id": "string",
        "ts": "int",
        "offset": "float",
        "weight": "float",
        "query_id": "string",
        "position": "int",
        "model_version": "string",
        "served_p": "float",
    },
    "clicks": {
        "impression_id": "string",
        "ts": "int",
        "impression_ts": "int",
        "type": "string",
    },
}

EXPECTED: dict[ValueType, str] = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list of strings",
}

_PLAIN: dict[ValueType, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "list": pa.list_(pa.string()),
}


def plain_type(kind: ValueType) -> pa.DataType:
    """The Arrow type of a kind of value, without dictionaries."""
    return _PLAIN[kind]


@dataclass(frozen=True)
class Record:
    """The records of one of the two logs, as files hold them.

    Here a click's `type` is still a string and no column has been given its default.
    """

    source: Source
    schema: EventSchema

    @property
    def own(self) -> dict[str, ValueType]:
        """The record's own members, by name."""
        return _OWN[self.source]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The declared members of its `features` object."""
        return self.schema.fields if self.source == "impressions" else ()

    @cached_property
    def kinds(self) -> dict[str, ValueType]:
        """All its columns by name: its own, then `features.<field>`."""
        return self.own | {field.column: field.type for field in self.fields}

    @cached_property
    def arrow(self) -> pa.Schema:
        """The schema of its batches."""
        return self.schema.impressions if self.source == "impressions" else self.schema.clicks

    def located(
        self, path: Path | str, names: Sequence[str], *, partial: bool = False
    ) -> dict[str, str]:
        """Which of a file's columns (`names`) hold which of the record's, by the record's name.

        A field is `features.<field>` or, unless the record has a column of that name, just
        `<field>`. Raises DataError if a required column or a field is missing (partial: all
        fields), or if two columns have one name.
        """
        found = {name: name for name in self.own if name in names}
        for field in self.fields:
            spellings = (field.column, *({field.name} - self.own.keys()))
            for spelling in spellings:
                if spelling in names:
                    found.setdefault(field.column, spelling)
        fields = [field.column for field in self.fields]
        if partial and any(name in found for name in fields):
            fields = []
        missing = [name for name in (*REQUIRED, *fields) if name not in found]
        if missing:
            raise DataError(
                f"{path}: no column {missing[0]} for the {self.source} (there are: "
                f"{', '.join(names)}). Name it so in the file, or correct the settings."
            )
        twice = [name for name in found.values() if names.count(name) > 1]
        if twice:
            raise DataError(f"{path}: two columns are called {twice[0]}. Rename one of them.")
        return found


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read: its number in the file, and what a letter says of it."""

    row: int
    reason: str
    detail: str
    raw: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong with a value, over the rows of a batch.

    bad: where it is wrong. column, values: what it is about. expected: what would be right.
    """

    column: str
    reason: str
    bad: Bool
    values: pa.Array
    expected: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a reader found in one piece of a file.

    columns: one array for each of `Record.kinds`, with its type, null where a value is
    missing; numbers are not NaN. rows: the row number of each. checks: what the reader
    itself found wrong with their values. bad: the rows it could not read, in order.
    raw: the text of a row of `columns`, by its index.
    """

    columns: dict[str, pa.Array]
    rows: I64
    checks: tuple[Check, ...]
    bad: tuple[BadRow, ...]
    raw: Callable[[int], str]


class Origin(Protocol):
    """Where the rows of a `Found` come from."""

    @property
    def name(self) -> str:
        """The file, or the partition of a topic."""
        ...

    def places(self, rows: I64) -> tuple[I64, I64]:
        """`src_offset` and `src_row` of the rows with these numbers."""
        ...


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """Rows of a file: its name, and its index in the order of reading."""

    name: str
    index: int

    def places(self, rows: I64) -> tuple[I64, I64]:
        """The file's index, and the rows' own numbers."""
        return np.full(len(rows), self.index, np.int64), rows


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a log.

    rows: the accepted ones, in the schema of `EventSchema.impressions` or `.clicks`.
    rejects: the refused ones between them, in the order of their places.
    clock: int64, ms, of each row the smaller of its `ts` and the time it reached the log, where
    the log tells it; None: `ts`.
    """

    rows: pa.RecordBatch
    rejects: tuple[DeadLetter, ...]
    clock: I64 | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log has been delivered.

    place: everything at or before it was delivered, as a row or as a letter (None:
    nothing). newest: the greatest `ts` delivered, in milliseconds (None: no row yet).
    """

    place: Place | None = None
    newest: int | None = None

    @property
    def after(self) -> Place:
        """A place: all that comes is after it."""
        return (-1, -1) if self.place is None else self.place


def place_of(rows: pa.RecordBatch, i: int) -> Place:
    """(src_offset, src_row) of a row of a batch."""
    return rows.column("src_offset")[i].as_py(), rows.column("src_row")[i].as_py()


def rows_through(rows: pa.RecordBatch, place: Place) -> int:
    """How many of a batch's rows, which are in the order of their places, are at or before one."""
    offsets: I64 = rows.column("src_offset").to_numpy()
    start, stop = (int(np.searchsorted(offsets, place[0], side)) for side in ("left", "right"))
    inside: I64 = rows.column("src_row").to_numpy()[start:stop]
    return start + int(np.searchsorted(inside, place[1], "right"))


# A place as one number has the row in its lowest bits. In a file: a trillion rows, of 8 million
# files. In a topic's partition: 2 million rows a message, of 4 trillion messages.
_FILE_ROW_BITS = np.int64(40)
_MESSAGE_ROW_BITS = np.int64(21)
_MOST_ROWS, _MOST_MESSAGES = 1 << 21, 1 << 42


def places(files: I64, rows: I64) -> I64:
    """Places in files as single numbers, int64, that ascend with the log. files, rows: int64."""
    return (files << _FILE_ROW_BITS) | rows


def places_of(batch: pa.RecordBatch, partition: int | None = None) -> I64:
    """The places of a batch's rows as single numbers, int64 from 0, that ascend with the log.

    partition: of the topic they came through; None: they are of files. Numbers of different
    partitions may be equal. Raises DataError for an offset or a row that has no number.
    """
    offsets: I64 = batch.column("src_offset").to_numpy()
    rows: I64 = batch.column("src_row").to_numpy()
    if partition is None:
        return places(offsets, rows)
    if batch.num_rows and (offsets.max() >= _MOST_MESSAGES or rows.max() >= _MOST_ROWS):
        raise DataError(
            f"partition {partition}: offset {offsets.max()}, row {rows.max()} is beyond what a "
            f"topic may hold ({_MOST_MESSAGES} messages in a partition, {_MOST_ROWS} events in "
            "a message); write smaller messages, or go on in new topics"
        )
    return (offsets << _MESSAGE_ROW_BITS) | rows


def seeds(place: I64, partition: int | None = None) -> I64:
    """What the random roundings of rows depend on: int64 from 0, one for each place.

    Different in each partition: two of them share a number by accident only, which costs nothing
    but the independence of two roundings. Those of partition 0, and of files, are the places.
    """
    own = int(fmix64(np.uint64(partition or 0)))
    return place ^ np.int64(own & 0x7FFF_FFFF_FFFF_FFFF)
