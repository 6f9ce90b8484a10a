"""Messages become the rows that files give, whatever their format and however they are cut."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.arrow_ipc import ARROW, CONTENT_TYPE
from streams.compute.murmur2 import partition_of
from streams.deadletter import DeadLetter, Source
from streams.kafka.chunk import Partition
from streams.kafka.codec import Decoder
from streams.record import RecordType, RowChunk
from tests.streams.test_logs_ndjson import BAD
from tests.support.log_files import SCHEMA, Row, as_read, click, impression, line, read, write_lines
from tests.support.tiers import tries
from tests.system.kafka.messages import (
    HEADERS,
    NOW,
    Message,
    arrow_message,
    arrow_rows,
    write_message,
)

IMPRESSIONS, CLICKS = RecordType("impressions", SCHEMA), RecordType("clicks", SCHEMA)
RECORDS: dict[Source, RecordType] = {"impressions": IMPRESSIONS, "clicks": CLICKS}
SKEW = 60_000

Messages = Sequence[Message]


def decode(
    messages: Messages, source: Source = "impressions", number: int = 0, partitions: int = 1
) -> RowChunk:
    record = RECORDS[source]
    chunk = Decoder(record, Partition("topic", number), partitions, SKEW).decode(messages)
    assert chunk.rows.schema.equals(record.arrow)
    chunk.rows.validate(full=True)
    assert chunk.clock is not None
    assert len(chunk.clock) == len(chunk.rows)
    return chunk


def reasons(chunk: RowChunk) -> list[tuple[int, int, str]]:
    return [(letter.src_offset, letter.src_row, letter.reason) for letter in chunk.rejected]


def only(chunk: RowChunk) -> DeadLetter:
    assert len(chunk.rejected) == 1
    return chunk.rejected[0]


# What one message holds: the rows of an Arrow message, or the text of a JSON one.
Content = list[Row] | bytes

good = st.builds(impression, st.integers(0, 99))
bad = st.builds(
    lambda row, edit: edit(line(row)),
    good,
    st.sampled_from([edit for name, edit, _, _ in BAD if name != "too long"]),
)
contents: st.SearchStrategy[list[Content]] = st.lists(
    st.one_of(good.map(line), good.map(line), bad, st.lists(good, max_size=4)), max_size=12
)


@settings(max_examples=tries(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents, st.data())
def test_messages_give_what_a_file_of_the_same_events_gives(
    tmp_path: Path, contents: list[Content], data: st.DataObject
) -> None:
    lines, places, messages = [], [], []
    offset = data.draw(st.sampled_from([0, 1 << 50]), "offset")
    for content in contents:
        if isinstance(content, bytes):
            lines.append(content)
            places.append((offset, 0))
            messages.append(Message(offset, content))
        else:
            lines += [line(row) for row in content]
            places += [(offset, row) for row in range(len(content))]
            shape = data.draw(st.booleans(), "struct")
            messages.append(arrow_message(offset, content, IMPRESSIONS, struct=shape))
        offset += data.draw(st.integers(1, 3), "step")
    file = read(write_lines(tmp_path / "log.ndjson", lines))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(messages)), max_size=3), "cuts"))
    decoder = Decoder(IMPRESSIONS, Partition("topic", 0), 1, SKEW)
    rows: list[Row] = []
    letters: list[DeadLetter] = []
    for begin, end in zip([0, *cuts], [*cuts, len(messages)], strict=True):
        chunk = decoder.decode(messages[begin:end])
        rows += chunk.rows.to_pylist()
        letters += chunk.rejected
    assert rows == [
        row | dict(zip(("src_offset", "src_row"), places[row["src_row"] - 1], strict=True))
        for row in file.rows
    ]
    assert [(x.position, x.reason, x.detail, x.raw) for x in letters] == [
        (places[x.src_row - 1], x.reason, x.detail, x.raw) for x in file.letters
    ]
    assert {letter.file for letter in letters} <= {"topic-0"}


def test_clicks_in_both_formats() -> None:
    rows = [click(1, type="hide"), click(2, impression_ts=7), {"impression_id": "x", "ts": 3}]
    single = decode([Message(i, line(row)) for i, row in enumerate(rows)], "clicks")
    batch = decode([arrow_message(0, rows, CLICKS)], "clicks")
    places = ["src_offset", "src_row"]
    assert single.rows.drop_columns(places).equals(batch.rows.drop_columns(places))
    assert single.rows.column("type").to_pylist() == [1, 0, 0]
    assert batch.rows.column("src_row").to_pylist() == [0, 1, 2]


def test_an_event_may_be_written_over_several_lines() -> None:
    pretty = json.dumps(impression(5), indent=2).encode()
    broken = pretty.replace(b'"id5"', b'"id\n5"')
    found = [Message(0, pretty), Message(1, broken), Message(2, b"\r\n" + pretty + b"\n")]
    chunk = decode(found)
    assert chunk.rows.to_pylist() == [
        as_read(impression(5), 0, src_offset) for src_offset in (0, 2)
    ]
    assert reasons(chunk) == [(1, 0, "bad_json")]


def test_a_message_is_never_more_than_one_event() -> None:
    two, half = line(impression(1)) * 2, line(impression(1))
    texts = [two, half[:20], half[20:], b"", None, b" \n", b"{}\n{}", line(impression(2))]
    chunk = decode([Message(i, text) for i, text in enumerate(texts)])
    assert chunk.rows.column("src_offset").to_pylist() == [7]
    assert reasons(chunk) == [(i, 0, "not_one_object") for i in range(7)]


def test_no_messages() -> None:
    chunk = decode([])
    assert (len(chunk.rows), chunk.rejected) == (0, ())


@pytest.mark.parametrize(
    "named",
    ["application/json", "Application/JSON; charset=utf-8", ""],
)
def test_json_by_any_header(named: str) -> None:
    headers = ((CONTENT_TYPE, named.encode()),) if named else (("trace", b"\xff"),)
    assert len(decode([Message(0, line(impression(1)), headers)]).rows) == 1


def test_an_unknown_content_type_costs_its_message() -> None:
    texts = line(impression(1))
    headers = (("Content-Type", b"application/avro\xff"),)
    chunk = decode([Message(4, texts), Message(5, texts, headers), Message(6, texts)])
    assert chunk.rows.column("src_offset").to_pylist() == [4, 6]
    letter = only(chunk)
    assert letter.position == (5, 0)
    assert letter.reason == "unknown_content_type"
    assert 'content-type is "application/avro' in letter.detail


def spoiled_text(batch: pa.RecordBatch) -> bytes:
    """The message with one byte of the id of row 1 changed so that it is not UTF-8."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    value: bytes = sink.getvalue().to_pybytes()
    assert value.count(b"id1id2id3") == 1
    return value.replace(b"id1id2id3", b"id1i\xff2id3")


def without(name: str) -> Callable[[pa.RecordBatch], bytes]:
    return lambda batch: write_message(batch.drop_columns([name]))


def replaced(name: str, column: pa.Array) -> Callable[[pa.RecordBatch], bytes]:
    def write(batch: pa.RecordBatch) -> bytes:
        at = batch.schema.get_field_index(name)
        return write_message(batch.set_column(at, name, column))

    return write


def two_columns(batch: pa.RecordBatch) -> bytes:
    return write_message(batch.append_column("ts", batch.column("ts")))


def damaged_offsets(batch: pa.RecordBatch) -> bytes:
    """The offsets of the ids, which are 3 bytes each, made to lead far outside."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    value: bytes = sink.getvalue().to_pybytes()
    offsets = struct.pack("<4i", 0, 3, 6, 9)
    assert offsets in value
    return value.replace(offsets, struct.pack("<4i", 0, 3, 1 << 30, 9), 1)


BAD_ARROW: list[tuple[str, Callable[[pa.RecordBatch], bytes], str]] = [
    ("empty", lambda _: b"", "not an Arrow stream"),
    ("json", lambda _: line(impression(1)), "not an Arrow stream"),
    ("cut", lambda batch: write_message(batch)[:-200], "not an Arrow stream"),
    ("damaged", damaged_offsets, "not an Arrow stream"),
    ("no id", without("impression_id"), "no column impression_id"),
    ("no ts", without("ts"), "no column ts"),
    ("two", two_columns, "two columns are called ts"),
    ("type", replaced("ts", pa.array(["1", "2", "3"])), "ts is string; int64 or timestamp"),
    ("cast", replaced("ts", pa.array([1 << 62] * 3, pa.timestamp("s"))), "cannot be cast"),
]


@pytest.mark.parametrize(("write", "detail"), [pytest.param(*c, id=i) for i, *c in BAD_ARROW])
def test_a_message_that_is_not_arrow_is_one_letter(
    write: Callable[[pa.RecordBatch], bytes], detail: str
) -> None:
    rows = [impression(i) for i in (1, 2, 3)]
    value = write(arrow_rows(rows, IMPRESSIONS))
    neighbours = [arrow_message(8, rows, IMPRESSIONS), arrow_message(10, rows, IMPRESSIONS)]
    chunk = decode([neighbours[0], Message(9, value, HEADERS), neighbours[1]])
    assert chunk.rows.column("src_offset").to_pylist() == [8] * 3 + [10] * 3
    assert chunk.rows.column("src_row").to_pylist() == [0, 1, 2] * 2
    letter = only(chunk)
    assert (letter.position, letter.reason) == ((9, 0), "bad_arrow")
    assert detail in letter.detail


@pytest.mark.parametrize("shape", [False, True], ids=["flat", "struct"])
def test_a_string_that_is_not_utf8_costs_its_row(shape: bool) -> None:
    value = spoiled_text(arrow_rows([impression(i) for i in (1, 2, 3)], IMPRESSIONS, shape))
    chunk = decode([Message(9, value, HEADERS), arrow_message(10, [impression(4)], IMPRESSIONS)])
    assert [row["impression_id"] for row in chunk.rows.to_pylist()] == ["id1", "id3", "id4"]
    assert reasons(chunk) == [(9, 1, "invalid_utf8")]


def test_rows_of_a_batch_are_judged_one_by_one() -> None:
    rows: list[dict[str, Any]] = [
        impression(1),
        impression(2, ts=-1),
        impression(3, weight=0.0),
        impression(4),
        impression(5, impression_id=None),
    ]
    chunk = decode([arrow_message(7, rows, IMPRESSIONS), Message(8, line(impression(6)))])
    assert [row["impression_id"] for row in chunk.rows.to_pylist()] == ["id1", "id4", "id6"]
    assert reasons(chunk) == [
        (7, 1, "bad_ts"),
        (7, 2, "out_of_range"),
        (7, 4, "missing_id"),
    ]


def test_a_field_that_producers_do_not_send_yet_is_missing() -> None:
    rows = arrow_rows([impression(1)], IMPRESSIONS)
    value = write_message(rows.drop_columns(["features.item", "features.tags", "served_p"]))
    row = decode([Message(0, value, HEADERS)]).rows.to_pylist()[0]
    assert (row["features.item"], row["features.tags"], row["features.size"]) == (None, None, 1)
    none = write_message(rows.select(["impression_id", "ts"]))
    assert only(decode([Message(0, none, HEADERS)])).reason == "bad_arrow"


def test_dictionaries_that_differ_between_messages() -> None:
    messages = []
    for offset, words in enumerate([["a", "b", None, "a"], ["c", "b", "b", "c"]]):
        rows = arrow_rows([impression(i) for i in range(4)], IMPRESSIONS)
        at = rows.schema.get_field_index("features.item")
        column = pa.array(words).dictionary_encode()
        value = write_message(rows.set_column(at, "features.item", column))
        messages.append(Message(offset, value, HEADERS))
    found = decode(messages).rows.column("features.item")
    assert found.to_pylist() == ["a", "b", None, "a", "c", "b", "b", "c"]
    nulls = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), ["a", None])
    rows = arrow_rows([impression(i) for i in range(3)], IMPRESSIONS)
    at = rows.schema.get_field_index("features.item")
    value = write_message(rows.set_column(at, "features.item", nulls))
    found = decode([Message(0, value, HEADERS)]).rows.column("features.item")
    assert found.to_pylist() == ["a", None, "a"]
    assert found.dictionary.null_count == 0


def test_a_clock_that_runs_ahead_is_judged_by_the_append_time() -> None:
    times = [NOW + SKEW + 1, NOW + SKEW, NOW + 1, NOW, 5]
    rows = [impression(i, ts=ts) for i, ts in enumerate(times)]
    single = decode([Message(i, line(row)) for i, row in enumerate(rows)])
    batch = decode([arrow_message(3, rows, IMPRESSIONS)])
    assert reasons(single) == [(0, 0, "too_far_ahead")]
    assert reasons(batch) == [(3, 0, "too_far_ahead")]
    assert "at most 1m more than the time its message was appended" in only(batch).detail
    for chunk in (single, batch):
        assert chunk.rows.column("ts").to_pylist() == times[1:]
        assert chunk.clock is not None
        assert chunk.clock.tolist() == [NOW, NOW, NOW, 5]
    untold = decode([Message(0, line(rows[0]), timestamp=-1)])
    assert untold.clock is not None
    assert untold.clock.tolist() == [times[0]]


def test_a_row_of_another_partition_is_named() -> None:
    rows = [impression(i) for i in range(20)]
    here = [row for row in rows if partition_of(row["impression_id"].encode(), 3) == 2]
    assert 0 < len(here) < 20
    single = decode([Message(i, line(row)) for i, row in enumerate(rows)], number=2, partitions=3)
    batch = decode([arrow_message(0, rows, IMPRESSIONS)], number=2, partitions=3)
    for chunk in (single, batch):
        assert chunk.rows.column("impression_id").to_pylist() == [r["impression_id"] for r in here]
        assert {letter.reason for letter in chunk.rejected} == {"wrong_partition"}
        assert len(chunk.rejected) == 20 - len(here)
        assert "partitioner=murmur2_random" in chunk.rejected[0].detail
        assert "partition 2 of 3" in chunk.rejected[0].detail


@settings(max_examples=tries(150))
@given(st.data())
def test_any_damage_to_an_arrow_message_stays_in_it(data: st.DataObject) -> None:
    rows = arrow_rows([impression(i) for i in range(3)], IMPRESSIONS, data.draw(st.booleans()))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    packed = data.draw(st.booleans(), "packed")
    value = bytearray(write_message(rows) if packed else sink.getvalue().to_pybytes())
    for _ in range(data.draw(st.integers(1, 4), "places")):
        at = data.draw(st.integers(0, len(value) - 1), "at")
        value[at] = data.draw(st.integers(0, 255), "byte")
    good = arrow_message(5, [impression(7)], IMPRESSIONS)
    chunk = decode([Message(4, bytes(value), ((CONTENT_TYPE, ARROW.encode()),)), good])
    assert chunk.rows.slice(len(chunk.rows) - 1).to_pylist() == [as_read(impression(7), 0, 5)]
    assert {place for place, _, _ in reasons(chunk)} <= {4}
