"""Parquet: columns of any type that loses nothing, and letters for the rows that cannot be."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.errors import DataError
from streams.files.logs import open_log
from tests.support.log_files import NO_GUARD, SCHEMA, Read, as_read, impression, read, write_parquet
from tests.support.log_files import after as behind

ROWS = [impression(i) for i in range(20)]
GOOD: dict[str, Any] = {
    "impression_id": pa.array(["a", "b"]),
    "ts": pa.array([5, 6]),
    "item": pa.array(["x", None]),
    "price": pa.array([1.5, None]),
    "size": pa.array([7, None]),
    "tags": pa.array([["x", "y"], None]),
    "new": pa.array([True, None]),
}


def table(tmp_path: Path, **changes: Any) -> Read:
    """What is read of two good rows with some columns changed, or left out (None)."""
    columns = {name: column for name, column in (GOOD | changes).items() if column is not None}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    return read(tmp_path / "log.parquet")


def not_text(values: list[bytes | None]) -> pa.Array:
    """A string column that holds any bytes."""
    binary = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())


@pytest.mark.parametrize("layout", ["struct", "flat", "bare"])
@pytest.mark.parametrize("block_rows", [1, 3, 100])
def test_features_may_stand_in_three_ways(tmp_path: Path, layout: str, block_rows: int) -> None:
    path = write_parquet(tmp_path / "log.parquet", ROWS, layout)
    got = read(path, block_rows=block_rows)
    assert got.rows == [as_read(row, i) for i, row in enumerate(ROWS, 1)]
    assert not got.letters
    assert max(got.sizes) <= block_rows


CASTS: list[tuple[str, Any, Any]] = [
    ("impression_id", pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
    ("impression_id", pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    ("ts", pa.array([5, 6], pa.int32()), [5, 6]),
    ("ts", pa.array([5, 6], pa.uint16()), [5, 6]),
    ("ts", pa.array([5, 6], pa.timestamp("s")), [5000, 6000]),
    ("ts", pa.array([5, 6], pa.timestamp("ms", "Asia/Tokyo")), [5, 6]),
    ("ts", pa.array([5_999, 6_000], pa.timestamp("us", "UTC")), [5, 6]),
    ("ts", pa.array([5_999_999, 6_000_000], pa.timestamp("ns")), [5, 6]),
    ("item", pa.array(["x", None], pa.large_string()), ["x", None]),
    ("item", pa.array(["x", None]).dictionary_encode(), ["x", None]),
    ("item", pa.array([-7, None], pa.int8()), ["-7", None]),
    ("item", pa.array([2**64 - 1, None], pa.uint64()), ["18446744073709551615", None]),
    ("item", pa.nulls(2), [None, None]),
    ("price", pa.array([1.5, None], pa.float32()), [1.5, None]),
    ("price", pa.array([0.1, 123456792.0], pa.float32()), [0.1, 123456792.0]),
    ("price", pa.array(np.array([0.7, 65504], np.float16)), [0.7, 65504.0]),
    ("price", pa.array([0.7, None], pa.float32()).dictionary_encode(), [0.7, None]),
    ("price", pa.array([float("nan"), 2.5], pa.float32()), [None, 2.5]),
    ("price", pa.array([float("nan"), 2.5]), [None, 2.5]),
    ("price", pa.array([7, None], pa.int64()), [7.0, None]),
    ("price", pa.array([Decimal("12.30"), None]), [12.3, None]),
    ("price", pa.array([Decimal("0.70"), Decimal("-123456.78")]), [0.7, -123456.78]),
    ("size", pa.array([7, None], pa.uint32()), [7, None]),
    ("size", pa.array([7, None], pa.int8()).dictionary_encode(), [7, None]),
    ("tags", pa.array([["x"], None], pa.large_list(pa.large_string())), [["x"], None]),
    ("tags", pa.array([["x"], None], pa.list_(pa.string(), 1)), [["x"], None]),
    ("new", pa.array([True, None]).dictionary_encode(), [True, None]),
    ("new", pa.nulls(2), [None, None]),
    ("item", pa.array([7, None], pa.int16()).dictionary_encode(), ["7", None]),
]


@pytest.mark.parametrize(("column", "written", "values"), CASTS)
def test_types_are_cast_without_loss(
    tmp_path: Path, column: str, written: Any, values: list[Any]
) -> None:
    got = table(tmp_path, **{column: written})
    assert not got.letters
    name = column if column in ("impression_id", "ts") else f"features.{column}"
    assert [row[name] for row in got.rows] == values


DAY = datetime.date(2020, 1, 1)
REFUSED: list[tuple[str, Any, str]] = [
    ("impression_id", [1, 2], "column impression_id is int64; string is expected"),
    ("impression_id", [b"a", b"b"], "column impression_id is binary; string is expected"),
    ("ts", [5.0, 6.0], "column ts is double; int64 or timestamp is expected"),
    ("ts", pa.array([5, 6], pa.uint64()), "column ts is uint64; int64 or timestamp"),
    ("ts", [DAY, DAY], r"column ts is date32\[day\]; int64 or timestamp is expected"),
    ("item", [1.5, 2.5], "column item is double; string is expected"),
    ("item", [True, False], "column item is bool; string is expected"),
    ("item", [["a"], ["b"]], "column item is list<.*>; string is expected"),
    ("price", ["1", "2"], "column price is string; double is expected"),
    ("price", [DAY, DAY], r"column price is date32\[day\]; double is expected"),
    ("size", [1.0, 2.0], "column size is double; int64 is expected"),
    ("size", [Decimal(1), Decimal(2)], "column size is decimal128.*; int64 is expected"),
    ("item", [Decimal(1), Decimal(2)], "column item is decimal128.*; string is expected"),
    ("item", [DAY, DAY], r"column item is date32\[day\]; string is expected"),
    ("new", [1, 0], "column new is int64; bool is expected"),
    ("tags", ["a", "b"], "column tags is string; list of string is expected"),
    ("tags", [[1], [2]], "column tags is list<.*>; list of string is expected"),
    ("ts", None, "no column ts for the impressions .there are: impression_id, item, price"),
    ("impression_id", None, "no column impression_id"),
    ("item", None, "no column features.item"),
    ("features.item", [b"a", b"b"], "column features.item is binary"),
]


@pytest.mark.parametrize(("column", "values", "message"), REFUSED)
def test_columns_that_will_not_do(tmp_path: Path, column: str, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, **{column: None if values is None else pa.array(values)})


BAD: list[tuple[str, Any, str]] = [
    ("impression_id", pa.array([None, "b"]), "missing_id"),
    ("impression_id", pa.array(["", "b"]), "empty_id"),
    ("impression_id", pa.array(["x" * 129, "b"]), "id_too_long"),
    ("impression_id", not_text([b"\xff", b"b"]), "invalid_utf8"),
    ("ts", pa.array([None, 6]), "missing_ts"),
    ("ts", pa.array([-1, 6]), "bad_ts"),
    ("price", pa.array([float("-inf"), 1.0]), "out_of_range"),
    ("weight", pa.array([0.0, 1.0]), "out_of_range"),
    ("served_p", pa.array([-0.1, 1.0]), "out_of_range"),
    ("offset", pa.array([float("inf"), 1.0]), "out_of_range"),
    ("tags", pa.array([["a", None], ["b"]]), "wrong_type"),
    ("item", not_text([b"\xff", None]), "invalid_utf8"),
    ("tags", pa.ListArray.from_arrays([0, 1, 2], not_text([b"\xff", b"b"])), "invalid_utf8"),
]


@pytest.mark.parametrize(("column", "values", "reason"), BAD)
def test_a_bad_row_becomes_one_letter_and_its_neighbour_stays(
    tmp_path: Path, column: str, values: Any, reason: str
) -> None:
    got = table(tmp_path, **{column: values})
    assert got.reasons == [(1, reason)]
    (row,) = got.rows
    assert (row["impression_id"], row["src_row"]) == ("b", 2)
    if reason != "invalid_utf8":
        assert got.letters[0].raw is not None
        assert '"item": "x"' in got.letters[0].raw


def test_missing_features(tmp_path: Path) -> None:
    members = {name: GOOD[name] for name in ("item", "price", "size", "tags", "new")}
    struct = pa.StructArray.from_arrays(
        list(members.values()), list(members), mask=pa.array([True, False])
    )
    columns = dict.fromkeys(members) | {"features": struct}
    got = table(tmp_path, **columns)
    assert got.reasons == [(1, "missing_features")]
    assert [row["src_row"] for row in got.rows] == [2]


def test_a_missing_number_that_is_nan_takes_its_default(tmp_path: Path) -> None:
    nan = pa.array([float("nan"), 3.0])
    got = table(tmp_path, weight=nan, offset=nan, served_p=pa.array([float("nan"), 0.3]))
    assert [row["weight"] for row in got.rows] == [1.0, 3.0]
    assert [row["offset"] for row in got.rows] == [0.0, 3.0]
    assert [row["served_p"] for row in got.rows] == [None, 0.3]


def test_a_fields_own_column_is_the_one_with_its_full_name(tmp_path: Path) -> None:
    got = table(tmp_path, **{"features.item": pa.array(["full", "name"])})
    assert [row["features.item"] for row in got.rows] == ["full", "name"]


@pytest.mark.parametrize("after", [0, 1, 6, 7, 13, 19, 20])
def test_reading_on_skips_rows_and_whole_groups(tmp_path: Path, after: int) -> None:
    path = write_parquet(tmp_path / "log.parquet", ROWS, "flat")
    got = read(path, after=behind(after), block_rows=4)
    assert [row["src_row"] for row in got.rows] == list(range(after + 1, 21))


def test_dictionaries_are_no_longer_than_their_batches(tmp_path: Path) -> None:
    rows = [impression(i) for i in range(1_000)]
    path = write_parquet(tmp_path / "log.parquet", rows, "bare")
    pq.write_table(pq.read_table(path), path)
    for chunk in open_log(path, SCHEMA, "impressions", guard=NO_GUARD, block_rows=10):
        assert len(chunk.rows.column("features.item").dictionary) <= 10


def test_an_empty_table_is_fine_and_a_broken_file_is_not(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", [], "flat")
    assert read(path).outcome == ([], [])
    sound = write_parquet(path, ROWS, "flat").read_bytes()
    for data in (b"", b"PAR1", sound[:-9], sound[: len(sound) // 2], b"x" * 1000):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"log\.parquet: cannot be read as Parquet"):
            read(path)


def test_rows_before_a_damaged_page_are_kept(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", ROWS, "flat")
    data = bytearray(path.read_bytes())
    group = pq.ParquetFile(path).metadata.row_group(1)
    start = min(group.column(i).data_page_offset for i in range(group.num_columns))
    data[start : start + 400] = b"\xff" * 400
    path.write_bytes(data)
    log = iter(open_log(path, SCHEMA, "impressions", guard=NO_GUARD, block_rows=7))
    assert next(log).rows.column("src_row").to_pylist() == list(range(1, 8))
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        next(log)
