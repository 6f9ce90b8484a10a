"""NDJSON: what becomes of a line never depends on its neighbours or on the blocks."""

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streams.formats.duplicate_keys import duplicated
from streams.formats.json_faults import json_fault
from streams.formats.lines import MAX_LINE_BYTES, Lines
from streams.formats.ndjson import JsonParser
from streams.record import RecordType
from tests.support.log_files import (
    FIELDS,
    SCHEMA,
    Read,
    Row,
    as_read,
    click,
    impression,
    line,
    read,
    write_lines,
)
from tests.support.tiers import tries

IMPRESSIONS, CLICKS = RecordType("impressions", SCHEMA), RecordType("clicks", SCHEMA)

GOOD = line(impression(5))
DEEP = b"[" * 100_000 + b"]" * 100_000

Edit = Callable[[bytes], bytes]


def put(member: str, value: str) -> Edit:
    """Replace the value of a member of the record."""
    return lambda good: _with(good, member, value, feature=False)


def feature(member: str, value: str) -> Edit:
    """Replace the value of a member of its features."""
    return lambda good: _with(good, member, value, feature=True)


def _with(good: bytes, member: str, value: str, feature: bool) -> bytes:
    row = json.loads(good)
    (row["features"] if feature else row)[member] = "<here>"
    return json.dumps(row).replace('"<here>"', value).encode()


def without(member: str) -> Edit:
    """Leave a member out."""
    return lambda good: line({k: v for k, v in json.loads(good).items() if k != member})


def before(text: str, at: str = '"ts"') -> Edit:
    """Put a text before another one."""
    return lambda good: good.replace(at.encode(), text.encode() + at.encode())


# Every way in which a line can be bad: its name, the edit, the reason, a part of the detail.
BAD: list[tuple[str, Edit, str, str]] = [
    ("two objects", lambda g: g + g, "not_one_object", "after the object there is"),
    ("an empty second object", lambda g: g + b" {}", "not_one_object", 'there is "{}"'),
    ("half an object", lambda g: g[: len(g) // 2], "not_one_object", "does not end on its line"),
    ("the other half", lambda g: g[len(g) // 2 :], "not_one_object", "the line begins with"),
    ("an array", lambda g: b"[" + g + b"]", "not_one_object", 'begins with "["'),
    ("a number", lambda _: b"17", "not_one_object", 'begins with "1"'),
    ("text after it", lambda g: g + b" x", "not_one_object", 'there is "x"'),
    ("a byte order mark", lambda g: b"\xef\xbb\xbf" + g, "not_one_object", "begins with"),
    ("no comma", lambda g: g.replace(b", ", b" ", 1), "bad_json", "is not JSON"),
    ("a comma too many", lambda g: g[:-1] + b",}", "bad_json", "is not JSON"),
    ("a comment", before("/* so */"), "bad_json", "is not JSON"),
    ("a raw tab", put("query_id", '"a\tb"'), "bad_json", "is not JSON"),
    ("a zero byte", lambda g: g.replace(b"id5", b"i\0"), "bad_json", "is not JSON"),
    ("a zero byte outside", lambda g: g[:-1] + b"\0}", "bad_json", "is not JSON"),
    ("NaN", feature("price", "NaN"), "bad_json", "features.price is NaN; a number is expected"),
    ("Infinity", put("offset", "-Infinity"), "bad_json", "offset is -Infinity"),
    ("an abbreviation", put("offset", "Inf"), "bad_json", "cannot be read"),
    ("invalid UTF-8", lambda g: g.replace(b"id5", b"i\xff"), "invalid_utf8", "0xff, is not UTF-8"),
    ("invalid UTF-8 unseen", lambda g: b'{"z": "\xe4", ' + g[1:], "invalid_utf8", "byte 8 of"),
    ("half a pair", put("query_id", r'"\ud800"'), "invalid_utf8", "query_id holds half"),
    ("half a pair unseen", put("zz", r'["\udc00"]'), "invalid_utf8", "zz holds half"),
    ("too long", put("zz", '"' + "x" * MAX_LINE_BYTES + '"'), "oversized", "at most 1048576"),
    ("an id twice", before('"ts": 7, '), "duplicate_key", "ts is given twice"),
    ("a field twice", before('"size": 7, ', '"new"'), "duplicate_key", "features.size is given"),
    ("features twice", before('"features": {}, '), "duplicate_key", "features is given twice"),
    ("no id", without("impression_id"), "missing_id", "impression_id is missing; a string of 1"),
    ("a null id", put("impression_id", "null"), "missing_id", "impression_id is missing"),
    ("an empty id", put("impression_id", '""'), "empty_id", 'impression_id is ""'),
    ("a long id", put("impression_id", '"' + "x" * 10_000 + '"'), "id_too_long", "xx…"),
    ("129 bytes", put("impression_id", '"' + "ü" * 65 + '"'), "id_too_long", "1 to 128 bytes"),
    ("a number as id", put("impression_id", "5"), "wrong_type", "impression_id is 5; a string"),
    ("no ts", without("ts"), "missing_ts", "ts is missing; a whole number of milliseconds"),
    ("a null ts", put("ts", "null"), "missing_ts", "ts is missing"),
    ("a negative ts", put("ts", "-1"), "bad_ts", "ts is -1"),
    ("a fraction as ts", put("ts", "1.5"), "bad_ts", "ts is 1.5"),
    ("an exponent in ts", put("ts", "1e3"), "bad_ts", "ts is 1000.0"),
    ("a string as ts", put("ts", '"17"'), "bad_ts", 'ts is "17"'),
    ("a huge ts", put("ts", "9" * 30), "bad_ts", "ts is 9999"),
    ("a ts of 500 digits", put("ts", "9" * 500), "bad_ts", "ts is"),
    ("microseconds", put("ts", "1541548945000000"), "bad_ts", "before the year 10000"),
    ("no features", without("features"), "missing_features", "features is missing; an object"),
    ("null features", put("features", "null"), "missing_features", "features is missing"),
    ("a list of features", put("features", "[]"), "wrong_type", "features is []; an object"),
    ("text as features", put("features", '"x"'), "wrong_type", 'features is "x"'),
    ("a string as number", feature("price", '"1"'), "wrong_type", 'features.price is "1"'),
    ("a number as string", feature("item", "1"), "wrong_type", "features.item is 1; a string"),
    ("a bool as number", feature("price", "true"), "wrong_type", "features.price is true"),
    ("a number as bool", feature("new", "1"), "wrong_type", "features.new is 1; true or false"),
    ("a fraction as int", feature("size", "1.0"), "wrong_type", "size is 1.0; a whole number"),
    ("a string as list", feature("tags", '"a"'), "wrong_type", 'tags is "a"; a list of strings'),
    ("a nested list", feature("tags", '[["a"]]'), "wrong_type", 'features.tags is [["a"]]'),
    ("a list of numbers", feature("tags", "[1]"), "wrong_type", "features.tags is [1]"),
    ("a null in a list", feature("tags", '["a", null]'), "wrong_type", '["a", null]; a list'),
    ("an object as string", put("query_id", "{}"), "wrong_type", "query_id is {}; a string"),
    ("a huge int", feature("size", "9" * 20), "out_of_range", "features.size is 9999"),
    ("a huge position", put("position", "-9223372036854775809"), "out_of_range", "position is"),
    ("a huge number", feature("price", "1e999"), "out_of_range", "features.price is Infinity"),
    ("400 digits", feature("price", "1" * 400), "out_of_range", "features.price is 1111"),
    ("a huge number unseen", put("zz", "1e999"), "bad_json", "a number in it too big"),
    ("weight zero", put("weight", "0"), "out_of_range", "weight is 0.0; a positive number"),
    ("p above 1", put("served_p", "1.01"), "out_of_range", "served_p is 1.01; a number from 0"),
]


def spoiled(edit: Edit, good: bytes = GOOD) -> bytes:
    bad = edit(good)
    assert bad != good
    assert b"\n" not in bad
    return bad


@pytest.mark.parametrize(("edit", "reason", "detail"), [pytest.param(*c, id=i) for i, *c in BAD])
def test_a_bad_line_becomes_one_letter_and_its_neighbours_stay(
    tmp_path: Path, edit: Edit, reason: str, detail: str
) -> None:
    bad = spoiled(edit)
    lines = [line(impression(1)), bad, line(impression(3)), bad, bad, line(impression(6))]
    got = read(write_lines(tmp_path / "log.ndjson", lines))
    assert got.rows == [as_read(impression(i), i) for i in (1, 3, 6)]
    assert got.reasons == [(i, reason) for i in (2, 4, 5)]
    letter = got.letters[0]
    assert detail in letter.detail
    assert letter.file == str(tmp_path / "log.ndjson")
    assert (letter.source, letter.src_offset, letter.click_type) == ("impressions", 0, None)
    assert letter.raw == bad.decode("utf-8", "replace")[:1000]


BAD_CLICKS: list[tuple[str, Row, str, str, str | None]] = [
    ("type", click(5, type="buy"), "unknown_click_type", "click types (click, hide)", None),
    ("kind of type", click(5, type=1), "wrong_type", "type is 1; a string", None),
    ("impression_ts", click(5, impression_ts=-4), "bad_ts", "impression_ts is -4", "click"),
    ("ts", click(5, ts=-4, type="hide"), "bad_ts", "ts is -4", "hide"),
    ("id", click(5, impression_id="", type=None), "empty_id", "", "click"),
]


@pytest.mark.parametrize(
    ("bad", "reason", "detail", "click_type"), [pytest.param(*c, id=i) for i, *c in BAD_CLICKS]
)
def test_a_bad_click(
    tmp_path: Path, bad: Row, reason: str, detail: str, click_type: str | None
) -> None:
    lines = [line(click(1, type="hide")), line(bad), line({"impression_id": "x", "ts": 7})]
    got = read(write_lines(tmp_path / "log.ndjson", lines), "clicks")
    assert [(row["src_row"], row["type"]) for row in got.rows] == [(1, 1), (3, 0)]
    assert got.reasons == [(2, reason)]
    assert detail in got.letters[0].detail
    assert got.letters[0].click_type == click_type


def test_an_object_over_two_lines_costs_exactly_those(tmp_path: Path) -> None:
    text = line(impression(2))
    halves = [text[:30], text[30:]]
    lines = [line(impression(1)), *halves, line(impression(4)), GOOD + GOOD, b""]
    got = read(write_lines(tmp_path / "log.ndjson", lines))
    assert [row["src_row"] for row in got.rows] == [1, 4]
    assert got.reasons == [(i, "not_one_object") for i in (2, 3, 5)]


def test_what_is_not_a_mistake(tmp_path: Path) -> None:
    empty = impression(3, features={})
    lines = [
        b"\xef\xbb\xbf" + line(impression(1)),
        b"",
        b" \t" + line(empty) + b" \r",
        b"  \r",
        line(impression(5, zz={"a": [1, None]}, features={"item": "", "zz": 1, "tags": None})),
        line(impression(6, weight=None, offset=None, served_p=None, model_version=None)),
        line(impression(7, query_id="Zürich 😀"), ensure_ascii=False),
        line(impression(8, query_id="Zürich 😀")),
        put("zz", "[NaN, Infinity]")(line(impression(9))),
        put("zz", DEEP.decode())(line(impression(10))),
        put("impression_id", '"' + "ü" * 64 + '"')(line(impression(11))),
        put("zz", '{"a": 1, "a": 2}')(line(impression(12))),
        put("ts", "253402300799999")(line(impression(13))),
    ]
    got = read(write_lines(tmp_path / "log.ndjson", lines))
    assert not got.letters
    assert [row["src_row"] for row in got.rows] == [1, 3, *range(5, 14)]
    assert got.rows[1] == as_read(empty, 3)
    assert got.rows[2]["features.item"] == ""
    assert got.rows[4]["query_id"] == got.rows[5]["query_id"] == "Zürich 😀"


def test_a_file_may_be_empty_or_end_without_a_line_end(tmp_path: Path) -> None:
    path = tmp_path / "log.ndjson"
    for text, rows in ((b"", 0), (b"\n\n", 0), (GOOD, 1), (GOOD + b"\n" + GOOD, 2)):
        path.write_bytes(text)
        got = read(path)
        assert (len(got.rows), got.letters) == (rows, [])


@st.composite
def log_lines(draw: st.DrawFn) -> list[bytes]:
    """Lines, good and bad ones mixed in any proportion."""
    edits = st.sampled_from([edit for name, edit, _, _ in BAD if name != "too long"])
    good = st.builds(lambda i: line(impression(i)), st.integers(0, 99))
    bad = st.builds(lambda text, edit: edit(text), good, edits)
    blank = st.sampled_from([b"", b" ", b"\r"])
    share = draw(st.integers(0, 3))
    return draw(st.lists(st.one_of(*[good] * (4 - share), *[bad] * share, blank), max_size=16))


@cache
def read_alone(text: bytes) -> Read:
    """What is read of a file with nothing but an empty line and this one."""
    with tempfile.TemporaryDirectory() as folder:
        return read(write_lines(Path(folder) / "one.ndjson", [b"", text]))


@settings(max_examples=tries(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=log_lines(),
    block_bytes=st.sampled_from([1, 7, 100, 500, 2000]),
    block_rows=st.integers(1, 9),
    zipped=st.booleans(),
)
def test_blocks_never_change_the_outcome(
    tmp_path: Path, lines: list[bytes], block_bytes: int, block_rows: int, zipped: bool
) -> None:
    path = write_lines(tmp_path / ("log.ndjson" + ".gz" * zipped), [b"", *lines])
    whole = read(path)
    alone = list(enumerate(map(read_alone, lines), 2))
    assert whole.rows == [row | {"src_row": i} for i, got in alone for row in got.rows]
    assert whole.reasons == [(i, letter.reason) for i, got in alone for letter in got.letters]
    small = read(path, block_bytes=block_bytes, block_rows=block_rows)
    assert small.outcome == whole.outcome
    assert max(small.sizes, default=0) <= block_rows


LEAST_INFINITE = "179769313486231580793" + "0" * 288  # as a float64
GREATEST = "17976931348623157" + "0" * 292
INTS = ["1", "-0", "01", "9223372036854775807", "-9223372036854775809"]
FLOATS = ["1.5", "1e3", "1e999", "-1e-999", GREATEST, LEAST_INFINITE, "1" * 450]
WORDS = ["NaN", "Infinity", "-Inf", "nan", "true", "false", "null"]
STRINGS = ['"a"', '""', '"é"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\x"']
NESTED = ["[]", "{}", "[1]", "[NaN]", '["a"]', '["a",null]', '[["a"]]', '{"a":1,"a":2}']
TOKENS = [*INTS, *FLOATS, *WORDS, *STRINGS, *NESTED]
NAMES = [*IMPRESSIONS.members, *CLICKS.members, "zz", "\\u0074s", "features"]


@st.composite
def nasty(draw: st.DrawFn) -> bytes:
    """Text that is nearly a record."""
    token = st.sampled_from(TOKENS)
    space = st.sampled_from(["", " ", "\t"])
    fields = st.tuples(st.sampled_from([*FIELDS, "zz"]), space, token)
    features = st.lists(fields, max_size=4).map(joined)
    member = st.tuples(st.sampled_from(NAMES), space, token | features)
    text = draw(st.lists(member, max_size=6).map(joined))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(text)))
        more = draw(st.sampled_from(["", "{", "}", '"', ",", ":", "[", "]", "\\", "0", "\0", "e"]))
        text = text[:at] + more + text[at + draw(st.integers(0, 1)) :]
    return draw(st.sampled_from([text, text, text, text + text])).encode()


def joined(members: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f'"{name}"{space}:{value}' for name, space, value in members) + "}"


def alone(text: bytes, record: RecordType) -> bool:
    """Whether pyarrow takes the line as a record."""
    ends = np.array([len(text)])
    lines = Lines(text + b"\n", np.array([0]), ends, np.array([1]), (), intact=True)
    parser = JsonParser(record)
    return text.startswith(b"{") and parser.table(lines, np.array([0])) is not None


@settings(max_examples=tries(400))
@given(nasty(), st.sampled_from([IMPRESSIONS, CLICKS]))
@example(b'{"zz":Inf}', IMPRESSIONS)
@example(b'{"zz":' + DEEP + b"}", IMPRESSIONS)
@example(b'{"offset":' + LEAST_INFINITE.encode() + b"}", IMPRESSIONS)
def test_what_is_called_a_fault_pyarrow_refuses(text: bytes, record: RecordType) -> None:
    if json_fault(text, record) is not None:
        assert not alone(text, record)


@pytest.mark.kernel
@settings(max_examples=tries(80))
@given(
    st.recursive(
        st.none() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(st.tuples(st.sampled_from(["a", 'b"', "c:", "{d", "\\"]), inner), max_size=4)
        ),
        max_leaves=12,
    )
)
def test_repeated_names_are_found(tree: object) -> None:
    """Lists of pairs stand for objects, which may have a name twice."""
    names: list[bool] = []

    def text(node: object) -> str:
        if not isinstance(node, list):
            return json.dumps(node)
        if node and all(isinstance(item, tuple) for item in node):
            names.append(len({name for name, _ in node}) < len(node))
            return "{" + ",".join(f"{json.dumps(n)}:{text(v)}" for n, v in node) + "}"
        return "[" + ",".join(text(item) for item in node) + "]"

    data = text(tree).encode()
    three = np.frombuffer(b'"' + data + b'"\n' + data + data, np.uint8)
    starts = np.array([1, len(data) + 3, 2 * len(data) + 3])
    assert duplicated(three, starts, starts + len(data)).tolist() == [any(names)] * 3


@pytest.mark.kernel
def test_very_many_names_are_suspected_without_looking() -> None:
    data = json.dumps({f"n{i}": 0 for i in range(300)}).encode()
    found = duplicated(np.frombuffer(data, np.uint8), np.array([0]), np.array([len(data)]))
    assert found.tolist() == [True]
