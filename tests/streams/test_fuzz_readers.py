"""Readers against damage at random: never a traceback, never a lost neighbour.

CLICKLOOP_FUZZ_EXAMPLES=5000 tries more of it than `make test` does.
"""

import gzip
import io
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.deadletter import DeadLetter
from streams.errors import DataError
from streams.files.clock_guard import GuardSettings
from streams.files.logs import open_log
from streams.schema import EventSchema, Field
from tests.system.bad_inputs.files import csv, parquet
from tests.system.bad_inputs.site import GOOD, SHOWN, Row, shown

EXAMPLES = int(os.environ.get("CLICKLOOP_FUZZ_EXAMPLES", "40"))
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize="CLICKLOOP_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

SCHEMA = EventSchema(
    (Field("ad", "string"), Field("price", "float"), Field("tags", "list"), Field("new", "bool"))
)
# Damage may make a `ts` of any size, which must not speak against its neighbours'.
ANY_TIME = GuardSettings(max_jump=3650 * 86_400_000, agree_rows=65_536)
LINES = {".ndjson": GOOD["impressions"], ".csv": csv().splitlines(keepends=True)}
GROUP = 5
PARQUET = parquet(rows=GROUP)

Rows = list[Row]
# Bytes that the formats give a meaning come often, so that damage reaches deep.
noise = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=12),
        st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud800"]),
        st.sampled_from([b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"NaN", b"1e999"]),
        st.sampled_from([b'"ts": ', b'"impression_id": "x"', b'"features": {}', b"-", b"9" * 20]),
    ),
    max_size=5,
).map(b"".join)


def read(path: Path, block: int, rows: int) -> tuple[Rows, list[DeadLetter], str | None]:
    """The rows, the letters, and the DataError that a log ends with, if any."""
    found: Rows = []
    letters: list[DeadLetter] = []
    try:
        log = open_log(
            path, SCHEMA, "impressions", guard=ANY_TIME, block_bytes=block, block_rows=rows
        )
        for chunk in log:
            chunk.rows.validate(full=True)
            found += chunk.rows.to_pylist()
            letters += chunk.rejected
    except DataError as error:
        return found, letters, str(error)
    return found, letters, None


def assert_good(rows: Rows, places: dict[int, int]) -> None:
    """The good row number i is among `rows`, unharmed, at the place places[i]."""
    found = {row["src_row"]: row for row in rows}
    for i, place in places.items():
        row, wanted = found[place], shown(i)
        members = {name: row["features." + name] for name in wanted["features"]}
        members["tags"] = members["tags"] or []  # CSV has no empty list
        assert [row["impression_id"], row["ts"], members] == list(wanted.values())


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with a short stretch of them removed, and others in its place."""
    start = draw(st.integers(0, len(content)))
    stop = min(len(content), start + draw(st.sampled_from([0, 0, 1, 2, 20])))
    return content[:start] + draw(noise) + content[stop:]


blocks = st.tuples(st.sampled_from([1, 7, 100, 5000]), st.sampled_from([1, 2, 7, 1000]))


@fuzz
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("ending", [".ndjson", ".csv"])
@given(data=st.data())
def test_a_damaged_line_harms_no_other(
    tmp_path: Path, ending: str, packed: bool, data: st.DataObject
) -> None:
    lines = list(LINES[ending])
    header = len(lines) - SHOWN
    k = data.draw(st.integers(0, SHOWN - 1), "line")
    bad = data.draw(damaged(lines[header + k][:-1]), "damaged")
    lines[header + k] = bad + b"\n"
    content = b"".join(lines)
    path = tmp_path / ("log" + ending + ".gz" * packed)
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    rows, letters, error = read(path, 1 << 20, 1 << 16)
    assert error is None
    shift = bad.count(b"\n")
    places = {i: header + i + 1 + (shift if i > k else 0) for i in range(SHOWN) if i != k}
    assert_good(rows, places)
    taken = sorted([row["src_row"] for row in rows] + [letter.src_row for letter in letters])
    text = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert taken == [n for n, line in enumerate(text, 1) if n > header and line.strip()]
    assert read(path, *data.draw(blocks, "blocks")) == (rows, letters, error)


@fuzz
@given(data=st.data())
def test_damaged_gzip_keeps_what_came_before(tmp_path: Path, data: st.DataObject) -> None:
    good, more = (GOOD["impressions"][:20], GOOD["impressions"][20:])
    tail = data.draw(damaged(gzip.compress(b"".join(more), 1)), "damaged")
    path = tmp_path / "log.ndjson.gz"
    path.write_bytes(gzip.compress(b"".join(good)) + tail)
    outcome = read(path, 1 << 20, 1 << 16)
    assert_good(outcome[0], {i: i + 1 for i in range(20)})
    assert read(path, *data.draw(blocks, "blocks")) == outcome


def group_at(position: int) -> int:
    """The row group whose pages have this byte of PARQUET; one too many for the footer."""
    metadata = pq.ParquetFile(io.BytesIO(PARQUET)).metadata
    starts = [metadata.row_group(g).column(0).data_page_offset for g in range(SHOWN // GROUP)]
    first = metadata.row_group(0).column(0).dictionary_page_offset or starts[0]
    ends = []
    for g in range(SHOWN // GROUP):
        columns = [metadata.row_group(g).column(c) for c in range(metadata.num_columns)]
        ends.append(first + sum(c.total_compressed_size for c in columns))
        first = ends[-1]
    return sum(end <= position for end in ends)


@fuzz
@given(data=st.data())
def test_damaged_parquet_keeps_the_groups_before(tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(4, len(PARQUET) - 1), "start")
    new = data.draw(st.binary(min_size=1, max_size=8), "bytes")
    content = PARQUET[:start] + new + PARQUET[start + len(new) :]
    path = tmp_path / "log.parquet"
    path.write_bytes(content[: len(PARQUET)])
    rows, _, error = read(path, 1 << 20, 1 << 16)
    group = group_at(start)
    if group < SHOWN // GROUP:
        others = [i for i in range(SHOWN) if i // GROUP not in (group, group_at(start + 7))]
        if error is not None:
            others = [i for i in others if i // GROUP < group]
        assert_good(rows, {i: i + 1 for i in others})
        small, _, again = read(path, 1, data.draw(st.integers(1, 12), "rows"))
        assert (again is None) == (error is None)  # which damage is met first may differ
        assert_good(small, {i: i + 1 for i in others})


@fuzz
@given(content=st.binary(max_size=200), ending=st.sampled_from([*LINES, ".parquet", ".csv.gz"]))
def test_any_bytes_are_a_log_or_a_clear_error(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / ("log" + ending)
    path.write_bytes(content)
    rows, letters, error = read(path, 1 << 20, 1 << 16)
    assert rows == []
    assert error is None or error.startswith(str(path))
    assert read(path, 3, 2) == (rows, letters, error)
