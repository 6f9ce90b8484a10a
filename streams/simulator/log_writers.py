"""Simulated rows written out, as Parquet or NDJSON."""

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams.compute.arrays import U64
from streams.schema import FEATURE_PREFIX
from streams.simulator import malformed
from streams.simulator.traffic import CLICK, IMPRESSION, TRUTH, Rows
from streams.simulator.world import Column, World

LogFormat = Literal["parquet", "ndjson", "ndjson.gz"]
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype=np.uint16)
_DISTINCT = ("impression_id", "ts", "impression_ts", "true_p", "delay_ms")
_GZIP_LEVEL = 3  # level 6 takes twice as long for a tenth less


class ParquetFile:
    """A Parquet file, one row group a block."""

    def __init__(self, path: Path, kind: np.dtype[Any], table: Callable[[Rows], pa.Table]) -> None:
        self._table = table
        schema = table(np.zeros(0, dtype=kind)).schema
        # A dictionary of values that hardly repeat costs time and space.
        repeating = [
            field.name + (".list.element" if pa.types.is_list(field.type) else "")
            for field in schema
            if field.name not in _DISTINCT
        ]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating)

    def write(self, rows: Rows) -> None:
        """Append a block."""
        self._writer.write_table(self._table(rows))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


class NdjsonFile:
    """An NDJSON file, compressed if its name ends in `.gz`."""

    def __init__(self, path: Path, lines: Callable[[Rows], pa.Array]) -> None:
        self._lines = lines
        self._file = path.open("wb")
        self._stream: BinaryIO = self._file
        if path.suffix == ".gz":
            # Neither name nor time in the header: the same bytes every time.
            self._stream = cast(
                BinaryIO,
                gzip.GzipFile("", "wb", compresslevel=_GZIP_LEVEL, fileobj=self._file, mtime=0),
            )

    def write(self, rows: Rows) -> None:
        """Append a block."""
        _, offsets, data = self._lines(rows).buffers()
        self._stream.write(memoryview(data)[: np.frombuffer(offsets, dtype=np.int32)[len(rows)]])

    def close(self) -> None:
        """Finish the file."""
        self._stream.close()
        self._file.close()


LogFile: TypeAlias = ParquetFile | NdjsonFile


def impression_log(path: Path, world: World) -> LogFile:
    """The impression log at `path`, in the format of its suffix."""
    if path.suffix == ".parquet":
        return ParquetFile(path, IMPRESSION, _impression_table(world))
    return NdjsonFile(path, _impression_lines(world))


def click_log(path: Path, world: World) -> LogFile:
    """The click log at `path`, in the format of its suffix."""
    if path.suffix == ".parquet":
        return ParquetFile(path, CLICK, _click_table(world))
    return NdjsonFile(path, _click_lines(world))


def truth_file(path: Path, world: World) -> LogFile:
    """The truth of every impression, in the order they were shown."""

    def table(rows: Rows) -> pa.Table:
        columns = {
            "impression_id": identities(rows["id"]),
            "ts": rows["ts"],
            "true_p": rows["true_p"],
            "clicked": rows["clicked"],
        }
        if "long_click" in world.settings.click_types:
            columns["long_clicked"] = rows["long_clicked"]
        delay = pa.array(rows["delay"], mask=rows["delay"] < 0)
        return pa.table(columns | {"delay_ms": delay})

    return ParquetFile(path, TRUTH, table)


def _impression_table(world: World) -> Callable[[Rows], pa.Table]:
    columns, positions = world.columns(), world.settings.positions > 0

    def table(rows: Rows) -> pa.Table:
        rest = {"position": rows["position"].astype(np.int64)} if positions else {}
        for column in columns:
            name = FEATURE_PREFIX + column.name
            rest[name] = column.values.take(pa.array(rows[column.entity]))
        return _break_columns(rows, rest)

    return table


def _click_table(world: World) -> Callable[[Rows], pa.Table]:
    types = pa.array(world.settings.click_types)

    def table(rows: Rows) -> pa.Table:
        kind = types.take(pa.array(rows["type"]))
        return _break_columns(rows, {"impression_ts": rows["impression_ts"], "type": kind})

    return table


def _break_columns(rows: Rows, rest: dict[str, Any]) -> pa.Table:
    """A table of id, ts and the rest, with the malformed rows' values put in."""
    columns = {"impression_id": identities(rows["id"]), "ts": pa.array(rows["ts"])}
    for number, (column, value) in enumerate(malformed.PARQUET.values()):
        broken = pa.array(malformed.kinds(rows, len(malformed.PARQUET)) == number)
        scalar = pa.scalar(value, columns[column].type)
        columns[column] = pc.if_else(broken, scalar, columns[column])
    return pa.table(columns | rest)


def _impression_lines(world: World) -> Callable[[Rows], pa.Array]:
    fragments = _fragments(world.columns())
    positions = world.settings.positions > 0

    def lines(rows: Rows) -> pa.Array:
        position = [',"position":', _digits(rows["position"])] if positions else []
        features: list[Any] = []
        for entity, texts in fragments.items():
            features += [",", texts.take(pa.array(rows[entity]))]
        parts = [*position, ',"features":{', *features[1:], "}"]
        return _break_lines(rows, parts, malformed.NDJSON["impressions"])

    return lines


def _click_lines(world: World) -> Callable[[Rows], pa.Array]:
    types = pa.array(world.settings.click_types)

    def lines(rows: Rows) -> pa.Array:
        kind = types.take(pa.array(rows["type"]))
        shown = _digits(rows["impression_ts"])
        parts = [',"impression_ts":', shown, ',"type":"', kind, '"']
        return _break_lines(rows, parts, malformed.NDJSON["clicks"])

    return lines


def _break_lines(rows: Rows, rest: list[Any], templates: dict[str, bytes]) -> pa.Array:
    """Lines of id, ts and the rest, with the malformed ones put in."""
    start = ['{"impression_id":"', identities(rows["id"]), '","ts":', _digits(rows["ts"])]
    lines = pc.binary_join_element_wise(*start, *rest, "}\n", "").cast(pa.binary())
    kinds = malformed.kinds(rows, len(templates))
    bodies = list(templates.values())
    bad = [
        _break_line(lines[row].as_py(), bodies[kinds[row]]) for row in np.flatnonzero(kinds >= 0)
    ]
    return pc.replace_with_mask(lines, pa.array(kinds >= 0), pa.array(bad, pa.binary()))


def _break_line(line: bytes, template: bytes) -> bytes:
    """The malformed row of a template, with the members of a good line."""
    first, second, rest = line.removesuffix(b"}\n").split(b",", 2)
    identity, ts = first.split(b'"')[3], second.removeprefix(b'"ts":')
    return template % {b"id": identity, b"ts": ts, b"rest": rest} + b"\n"


def _fragments(columns: Iterable[Column]) -> dict[str, pa.Array]:
    """For each entity, the JSON members of each of its codes: `"device":"tv"`."""
    members: dict[str, list[list[str]]] = {}
    for column in columns:
        name = json.dumps(column.name)
        values = column.values.to_pylist()
        texts = [f"{name}:{json.dumps(value, separators=(',', ':'))}" for value in values]
        members.setdefault(column.entity, []).append(texts)
    return {
        entity: pa.array([",".join(parts) for parts in zip(*texts, strict=True)])
        for entity, texts in members.items()
    }


def _digits(numbers: Any) -> pa.Array:
    return pa.array(numbers.astype(np.int64)).cast(pa.string())


def identities(ids: U64) -> pa.Array:
    """Ids as 16 hexadecimal digits each."""
    digits = _HEX[np.ascontiguousarray(ids).astype(">u8").view(np.uint8)]
    ends = np.arange(len(ids) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(ends), pa.py_buffer(digits))
