"""The columns of a log's records, and the rows that a reader parsed."""

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


@dataclass(frozen=True)
class RecordType:
    """The type of the records of one of the two logs, as files hold them.

    At this stage a click's `type` is still a string and no column has its default.
    """

    source: Source
    schema: EventSchema

    @property
    def members(self) -> dict[str, ValueType]:
        """The members that every record of the log may have beside `features`: name to type."""
        return _MEMBERS[self.source]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The declared members of its `features` object."""
        return self.schema.fields if self.source == "impressions" else ()

    @cached_property
    def column_types(self) -> dict[str, ValueType]:
        """The type of every column by name: the members, then `features.<field>`."""
        return self.members | {field.column: field.type for field in self.fields}

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of batches of such records."""
        return self.schema.impressions if self.source == "impressions" else self.schema.clicks

    def locate_columns(
        self, path: Path | str, names: Sequence[str], *, partial: bool = False
    ) -> dict[str, str]:
        """The name of the file's column, out of `names`, that holds each column of the record.

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
    """A row that could not be read: its number in the file, and what its dead letter says."""

    row: int
    reason: str
    detail: str
    raw: str | None


@dataclass(frozen=True, slots=True)
class ColumnCheck:
    """One check of a column, made for all rows of a batch.

    bad: the rows that fail. column, values: what was checked. expected: what would be right.
    """

    column: str
    reason: str
    bad: Bool
    values: pa.Array
    expected: str


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """The rows that a reader parsed from one piece of a file.

    columns: one array for each of `RecordType.column_types`, with its type, null where a value is
    missing; numbers are not NaN. rows: the number of each row. checks: what the
    reader itself found wrong with values. bad: the rows that could not be read, in order.
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
    rejected: the refused ones between them, in the order of their positions.
    clock: int64, ms, of each row the smaller of its `ts` and the time it reached the log, where
    the log tells it; None: `ts`.
    """

    rows: pa.RecordBatch
    rejected: tuple[DeadLetter, ...]
    clock: I64 | None = None
