"""What a file holds of a record, and what a reader found of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I64, Bool
from streams.deadletter import DeadLetter, Source
from streams.errors import DataError
from streams.schema import EventSchema, Field, ValueType

FEATURES = "features"
REQUIRED = ("impression_id", "ts")
TIMES = ("ts", "impression_ts")

_MEMBERS: dict[Source, dict[str, ValueType]] = {
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
class RecordType:
    """The records of one of the two logs, as files hold them.

    Here a click's `type` is still a string and no column has been given its default.
    """

    source: Source
    schema: EventSchema

    @property
    def members(self) -> dict[str, ValueType]:
        """The record's own members, by name."""
        return _MEMBERS[self.source]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The declared members of its `features` object."""
        return self.schema.fields if self.source == "impressions" else ()

    @cached_property
    def column_types(self) -> dict[str, ValueType]:
        """All its columns by name: its own, then `features.<field>`."""
        return self.members | {field.column: field.type for field in self.fields}

    @cached_property
    def arrow(self) -> pa.Schema:
        """The schema of its batches."""
        return self.schema.impressions if self.source == "impressions" else self.schema.clicks

    def locate_columns(
        self, path: Path | str, names: Sequence[str], *, partial: bool = False
    ) -> dict[str, str]:
        """Which of a file's columns (`names`) hold which of the record's, by the record's name.

        A field is `features.<field>` or, unless the record has a column of that name, just
        `<field>`. Raises DataError if a required column or a field is missing (partial: all
        fields), or if two columns have one name.
        """
        located = {name: name for name in self.members if name in names}
        for field in self.fields:
            spellings = (field.column, *({field.name} - self.members.keys()))
            for spelling in spellings:
                if spelling in names:
                    located.setdefault(field.column, spelling)
        fields = [field.column for field in self.fields]
        if partial and any(name in located for name in fields):
            fields = []
        missing = [name for name in (*REQUIRED, *fields) if name not in located]
        if missing:
            raise DataError(
                f"{path}: no column {missing[0]} for the {self.source} (there are: "
                f"{', '.join(names)}). Name it so in the file, or correct the settings."
            )
        doubled = [name for name in located.values() if names.count(name) > 1]
        if doubled:
            raise DataError(f"{path}: two columns are called {doubled[0]}. Rename one of them.")
        return located


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read: its number in the file, and what a letter says of it."""

    row: int
    reason: str
    detail: str
    raw: str | None


@dataclass(frozen=True, slots=True)
class ColumnCheck:
    """One thing that can be wrong with a value, over the rows of a batch.

    bad: where it is wrong. column, values: what it is about. expected: what would be right.
    """

    column: str
    reason: str
    bad: Bool
    values: pa.Array
    expected: str


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """What a reader found in one piece of a file.

    columns: one array for each of `RecordType.column_types`, with its type, null where a value is
    missing; numbers are not NaN. rows: the row number of each. checks: what the reader
    itself found wrong with their values. bad: the rows it could not read, in order.
    raw: the text of a row of `columns`, by its index.
    """

    columns: dict[str, pa.Array]
    rows: I64
    checks: tuple[ColumnCheck, ...]
    bad: tuple[BadRow, ...]
    raw: Callable[[int], str]


class Origin(Protocol):
    """Where the rows of a `ParsedRows` come from."""

    @property
    def name(self) -> str:
        """The file, or the partition of a topic."""
        ...

    def positions(self, rows: I64) -> tuple[I64, I64]:
        """`src_offset` and `src_row` of the rows with these numbers."""
        ...


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """Rows of a file: its name, and its index in the order of reading."""

    name: str
    index: int

    def positions(self, rows: I64) -> tuple[I64, I64]:
        """The file's index, and the rows' own numbers."""
        return np.full(len(rows), self.index, np.int64), rows


@dataclass(frozen=True, slots=True)
class RowChunk:
    """Consecutive rows of a log.

    rows: the accepted ones, in the schema of `EventSchema.impressions` or `.clicks`.
    rejects: the refused ones between them, in the order of their places.
    clock: int64, ms, of each row the smaller of its `ts` and the time it reached the log, where
    the log tells it; None: `ts`.
    """

    rows: pa.RecordBatch
    rejected: tuple[DeadLetter, ...]
    clock: I64 | None = None
