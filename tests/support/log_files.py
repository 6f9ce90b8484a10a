"""Small log files in every format, and everything that is read of them as plain Python."""

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streams.deadletter import DeadLetter, Source
from streams.files.clock_guard import GuardSettings
from streams.files.logs import Log, open_log
from streams.position import ReadCursor
from streams.schema import EventSchema, Field

Row = dict[str, Any]

SCHEMA = EventSchema(
    (
        Field("item", "string"),
        Field("price", "float"),
        Field("size", "int"),
        Field("tags", "list"),
        Field("new", "bool"),
    ),
    ("click", "hide"),
)
FIELDS = [field.name for field in SCHEMA.fields]
NO_GUARD = GuardSettings(max_jump="3650d")  # type: ignore[arg-type]  # parsed by pydantic


def impression(i: int, **changes: Any) -> Row:
    """An impression as a file holds it; `features` may be changed as a whole."""
    features = {"item": f"i{i}", "price": i + 0.5, "size": i, "tags": ["a", "b"], "new": True}
    row = {"impression_id": f"id{i}", "ts": 1_000 + i, "features": features}
    return row | {"query_id": "q", "position": 3, "weight": 2.0} | changes


def click(i: int, **changes: Any) -> Row:
    """A click as a file holds it."""
    return {"impression_id": f"id{i}", "ts": 2_000 + i, "type": "click"} | changes


def as_read(row: Row, src_row: int, src_offset: int = 0) -> Row:
    """What a batch holds of an impression that was written as `row`."""
    features = {f"features.{name}": row["features"].get(name) for name in FIELDS}
    own = {name: row.get(name) for name in ("query_id", "position", "model_version", "served_p")}
    offset, weight = row.get("offset"), row.get("weight")
    return {
        "impression_id": row["impression_id"],
        "ts": row["ts"],
        "offset": 0.0 if offset is None else offset,
        "weight": 1.0 if weight is None else weight,
        **own,
        **features,
        "src_offset": src_offset,
        "src_row": src_row,
    }


def line(row: Row, **options: Any) -> bytes:
    """A row as a line of NDJSON, without its end."""
    return json.dumps(row, **options).encode()


def write_lines(path: Path, lines: Iterable[bytes]) -> Path:
    """Write lines to a file, gzipped if its name says so."""
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> Path:
    """Write rows as CSV: strings quoted, nothing for None."""
    cells = ((_cell(_value(row, column)) for column in columns) for row in rows)
    lines = [",".join(columns), *(",".join(row) for row in cells)]
    return write_lines(path, [text.encode() for text in lines])


def write_parquet(path: Path, rows: Sequence[Row], layout: str) -> Path:
    """Write impressions with the features as a `struct`, `flat` or as `bare` columns."""
    types = {
        "impression_id": pa.string(),
        "ts": pa.int64(),
        "offset": pa.float64(),
        "weight": pa.float64(),
        "query_id": pa.string(),
        "position": pa.int64(),
        "model_version": pa.string(),
        "served_p": pa.float64(),
    }
    columns = {name: pa.array([row.get(name) for row in rows], t) for name, t in types.items()}
    kinds = [(f.name, pa.string() if f.type == "string" else f.arrow_type) for f in SCHEMA.fields]
    features = pa.array([row["features"] for row in rows], pa.struct(kinds))
    if layout == "struct":
        columns["features"] = features
    else:
        prefix = "features." if layout == "flat" else ""
        members = zip(FIELDS, features.flatten(), strict=True)
        columns |= {prefix + name: member for name, member in members}
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return path


def read(path: Path | str, source: Source = "impressions", **options: Any) -> "Read":
    """Everything in a log; without the guard unless it is given."""
    log = open_log(path, SCHEMA, source, **({"guard": NO_GUARD} | options))
    return Read(log)


class Read:
    """What a log gave: rows as dictionaries, letters, and the error that ended it."""

    def __init__(self, log: Log) -> None:
        self.rows: list[Row] = []
        self.letters: list[DeadLetter] = []
        self.sizes: list[int] = []
        for chunk in log:
            assert chunk.rows.schema.equals(log.record.arrow)
            chunk.rows.validate(full=True)
            self.rows += chunk.rows.to_pylist()
            self.letters += chunk.rejected
            self.sizes.append(len(chunk.rows))

    @property
    def reasons(self) -> list[tuple[int, str]]:
        """The row and the reason of each letter."""
        return [(letter.src_row, letter.reason) for letter in self.letters]

    @property
    def outcome(self) -> tuple[list[Row], list[DeadLetter]]:
        """All that must not depend on how a log is cut into chunks."""
        return self.rows, self.letters


def after(src_row: int, newest: int | None = None, src_offset: int = 0) -> ReadCursor:
    """The position behind a row."""
    return ReadCursor((src_offset, src_row), newest)


def _value(row: Row, column: str) -> Any:
    if column in row:
        return row[column]
    return row.get("features", {}).get(column.removeprefix("features."))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = "|".join(value)
    return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else repr(value)
