"""CSV: one row a line, typed cell by cell."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.errors import DataError
from tests.support.log_files import Read, read, write_lines
from tests.support.tiers import tries

HEADER = "impression_id,ts,item,price,size,tags,new,position"
GOOD = "a,5,i,1.5,7,x|y,true,3"
VALUES = {"item": "i", "price": 1.5, "size": 7, "tags": ["x", "y"], "new": True}


def lines(tmp_path: Path, rows: Sequence[str | bytes], header: str = HEADER, **sizes: Any) -> Read:
    """What is read of a CSV file."""
    texts = [row if isinstance(row, bytes) else row.encode() for row in [header, *rows]]
    return read(write_lines(tmp_path / "log.csv", texts), **sizes)


def one(tmp_path: Path, **cells: str) -> object:
    """The value of the one cell that is given, in a row that is otherwise good."""
    names = HEADER.split(",")
    row = dict(zip(names, GOOD.split(","), strict=True)) | cells
    got = lines(tmp_path, [",".join(row.values())])
    (name,) = cells
    if got.letters:
        return got.letters[0].reason
    (found,) = got.rows
    return found.get(name, found.get(f"features.{name}"))


def test_a_row(tmp_path: Path) -> None:
    got = lines(tmp_path, ["", GOOD, "   ", GOOD + "\r"])
    assert [row["src_row"] for row in got.rows] == [3, 5]
    for row in got.rows:
        assert (row["impression_id"], row["ts"], row["position"]) == ("a", 5, 3)
        assert (row["offset"], row["weight"], row["query_id"]) == (0.0, 1.0, None)
        assert {name: row[f"features.{name}"] for name in VALUES} == VALUES


CELLS: list[tuple[str, str, object]] = [
    ("impression_id", "", "missing_id"),
    ("impression_id", '""', "empty_id"),
    ("impression_id", '"a,""b"""', 'a,"b"'),
    ("impression_id", "x" * 129, "id_too_long"),
    ("ts", "", "missing_ts"),
    ("ts", "-1", "bad_ts"),
    ("ts", "5.0", "bad_ts"),
    ("ts", " 5", "bad_ts"),
    ("ts", "0x10", "bad_ts"),
    ("ts", "1_0", "bad_ts"),
    ("ts", "9" * 40, "bad_ts"),
    ("ts", "9" * 500, "bad_ts"),
    ("ts", '"5"', 5),
    ("ts", "+5", 5),
    ("ts", "007", 7),
    ("position", "", None),
    ("position", '""', None),
    ("position", "nan", "wrong_type"),
    ("position", "9223372036854775807", 9223372036854775807),
    ("position", "-9223372036854775808", -9223372036854775808),
    ("position", "9223372036854775808", "out_of_range"),
    ("item", "", None),
    ("item", '""', ""),
    ("item", " é ", " é "),
    ("price", "", None),
    ("price", "NaN", None),
    ("price", "-0.1", -0.1),
    ("price", "1e3", 1000.0),
    ("price", ".5", 0.5),
    ("price", "5.", 5.0),
    ("price", "0.30000000000000004", 0.30000000000000004),
    ("price", "123456789012345678", 123456789012345678.0),
    ("price", "inf", "wrong_type"),
    ("price", "1e999", "out_of_range"),
    ("price", "1,5", "wrong_columns"),
    ("price", "1..5", "wrong_type"),
    ("size", "1.0", "wrong_type"),
    ("new", "", None),
    ("new", "TRUE", True),
    ("new", "0", False),
    ("new", "1", True),
    ("new", "yes", "wrong_type"),
    ("tags", "", None),
    ("tags", '""', None),
    ("tags", "a", ["a"]),
    ("tags", "a||b", ["a", "", "b"]),
    ("tags", '"a,b|c"', ["a,b", "c"]),
]


@pytest.mark.parametrize(("column", "cell", "value"), CELLS)
def test_a_cell(tmp_path: Path, column: str, cell: str, value: object) -> None:
    assert one(tmp_path, **{column: cell}) == value


BAD: dict[str | bytes, str] = {
    GOOD + ",": "wrong_columns",
    "a,5": "wrong_columns",
    "a": "wrong_columns",
    '"' + GOOD: "bad_csv",
    'a"b,5,i,1.5,7,x|y,true,"3': "bad_csv",
    GOOD + '"x': "wrong_type",
    "a\rb" + GOOD: "bad_csv",
    b"\xff" + GOOD.encode(): "invalid_utf8",
    GOOD.replace("a", "b" * (1 << 20)): "oversized",
    "," + GOOD[2:]: "missing_id",
    GOOD.replace("5", "x", 1): "bad_ts",
}


@pytest.mark.parametrize(("bad", "reason"), BAD.items(), ids=[str(i) for i in range(len(BAD))])
def test_a_bad_row_becomes_one_letter_and_its_neighbours_stay(
    tmp_path: Path, bad: str | bytes, reason: str
) -> None:
    got = lines(tmp_path, [GOOD, bad, GOOD, bad, bad, GOOD])
    assert [row["src_row"] for row in got.rows] == [2, 4, 7]
    assert got.reasons == [(i, reason) for i in (3, 5, 6)]
    raw = bad if isinstance(bad, bytes) else bad.encode()
    assert got.letters[0].raw == raw.decode("utf-8", "replace")[:1000]


def test_the_letters_say_what_is_wrong(tmp_path: Path) -> None:
    got = lines(tmp_path, ["a,5", '"a,5', GOOD.replace("7", "x"), GOOD.replace("1.5", "p")])
    assert [letter.detail for letter in got.letters] == [
        "the row has 2 cells; 8 are expected, as in the header",
        "the cells cannot be told apart; closed quotes and no lone line ends are expected",
        'features.size is "x"; a whole number is expected',
        'features.price is "p"; a number is expected',
    ]


@settings(max_examples=tries(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.sampled_from([GOOD, GOOD, '"q"' + GOOD[1:], "", *[b for b in BAD if len(b) < 99]]),
        max_size=14,
    ),
    block_bytes=st.integers(1, 200),
    block_rows=st.integers(1, 5),
)
def test_blocks_never_change_the_outcome(
    tmp_path: Path, rows: list[str | bytes], block_bytes: int, block_rows: int
) -> None:
    whole = lines(tmp_path, rows)
    assert [row["src_row"] for row in whole.rows] == [
        i for i, row in enumerate(rows, 2) if row and row not in BAD
    ]
    assert whole.reasons == [(i, BAD[row]) for i, row in enumerate(rows, 2) if row in BAD]
    small = lines(tmp_path, rows, block_bytes=block_bytes, block_rows=block_rows)
    assert small.outcome == whole.outcome


def test_a_byte_order_mark_within_a_file_is_text_wherever_blocks_begin(tmp_path: Path) -> None:
    rows: list[str | bytes] = [GOOD, b"\xef\xbb\xbf" + GOOD.encode(), GOOD + ",1"]
    for block_bytes, block_rows in ((1 << 20, 1 << 16), (1, 1), (1 << 20, 2)):
        got = lines(tmp_path, rows, block_bytes=block_bytes, block_rows=block_rows)
        assert [row["impression_id"] for row in got.rows] == ["a", "\ufeffa"]
        assert [(letter.src_row, letter.reason) for letter in got.letters] == [(4, "wrong_columns")]


def test_the_header_may_come_late_and_name_things_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    header = 'more,features.new,"tags",size,price,item,ts,impression_id'
    row = "x,1,x|y,7,1.5,i,5,a"
    text = "\ufeff\n  \n" + header + "\n" + row
    path.write_bytes(gzip.compress(text.encode()))
    got = read(path)
    assert [(row["src_row"], row["impression_id"], row["features.new"]) for row in got.rows] == [
        (4, "a", True)
    ]


def test_clicks(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "log.csv",
        [b"impression_id,ts,type,impression_ts", b"a,5,hide,4", b"b,6,,", b"c,7,buy,"],
    )
    got = read(path, "clicks")
    assert [(row["type"], row["impression_ts"]) for row in got.rows] == [(1, 4), (0, None)]
    assert got.reasons == [(4, "unknown_click_type")]


HEADERS = {
    "": "there is no header line",
    "impression_id,item,price,size,tags,new": "no column ts for the impressions",
    "impression_id,ts,item,price,size,tags": "no column features.new",
    "impression_id,ts,item,price,size,tags,new,ts": "two columns are called ts",
    "\udcff": "the header cannot be read: byte 1",
}


@pytest.mark.parametrize(("header", "message"), HEADERS.items())
def test_a_header_that_will_not_do(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(header.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(DataError, match=message):
        read(path)
