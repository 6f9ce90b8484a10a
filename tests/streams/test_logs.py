"""Logs: which files, in which order; the same events from every format; reading on."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.deadletter import DeadLetter, DeadLetterWriter, raw_line, shown
from streams.errors import DataError
from streams.files.clock_guard import GuardSettings
from streams.files.logs import discover, open_log
from streams.merge import MergedStep, merged
from streams.position import ReadCursor
from streams.schema import EventSchema, Field
from tests.support import trivago
from tests.support.log_files import (
    FIELDS,
    SCHEMA,
    Row,
    as_read,
    click,
    impression,
    line,
    read,
    write_csv,
    write_lines,
    write_parquet,
)
from tests.support.tiers import tries

TRIVAGO = EventSchema(
    (
        *(Field(n, "string") for n in ("item_id", "position", "platform", "city", "device")),
        Field("user_id", "string"),
        Field("price", "float"),
        Field("filters", "list"),
        Field("is_last_item", "bool"),
    )
)
IN_ANY_FOLDER = settings(
    max_examples=tries(40), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def test_a_folder_gives_its_logs_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "b.csv", "a.ndjson.gz", "c.parquet", "README.md", ".d.ndjson", "e.gz")
    touch(tmp_path, "10.ndjson", "9.csv.gz")
    (tmp_path / "f.ndjson").mkdir()
    names = ["10.ndjson", "9.csv.gz", "a.ndjson.gz", "b.csv", "c.parquet"]
    assert [path.name for path in discover(tmp_path)] == names
    assert [path.name for path in discover(str(tmp_path / "[1-9]*"))] == names[:2]
    assert discover(tmp_path / "b.csv") == (tmp_path / "b.csv",)


def test_a_file_may_be_called_like_a_glob(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].csv", "a1.csv")
    assert [path.name for path in discover(tmp_path / "a[1].csv")] == ["a[1].csv"]


WHAT = "Give a file, a folder or a glob of .ndjson, .ndjson.gz, .parquet, .csv, .csv.gz."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", f"nothing: there are no log files. {WHAT}"),
        ("*.parquet", f"*.parquet: there are no log files. {WHAT}"),
        ("empty", f"empty: there are no log files. {WHAT}"),
        ("a.txt", f"a.txt: this kind of file is not known. {WHAT}"),
        ("a.*", f"a.txt: this kind of file is not known. {WHAT}"),
        ("dangling.csv", "dangling.csv: there are no log files."),
    ],
)
def test_no_logs(tmp_path: Path, name: str, message: str) -> None:
    touch(tmp_path, "a.txt", "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as error:
        discover(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path}/{message}")


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom file modes stop, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unreadable_files_and_folders() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        touch(folder, "a.csv")
        (folder / "a.csv").chmod(0)
        (folder / "closed").mkdir(mode=0)
        for path, at in ((folder, "a.csv"), (folder / "a.csv", ""), (folder / "closed", "")):
            with pytest.raises(DataError) as error, unprivileged():
                discover(path)
            place = path / at if at else path
            assert str(error.value).startswith(f"{place}: Permission denied. Check the path")


def test_a_log_is_its_files_one_after_another(tmp_path: Path) -> None:
    write_lines(tmp_path / "1.ndjson", [line(impression(1)), b"bad", line(impression(2))])
    write_lines(tmp_path / "2.ndjson.gz", [line(impression(3)), b"bad"])
    write_csv(tmp_path / "3.csv", [impression(4)], ["impression_id", "ts", *FIELDS])
    write_parquet(tmp_path / "4.parquet", [impression(5)], "struct")
    got = read(tmp_path)
    places = [(row["src_offset"], row["src_row"], row["impression_id"]) for row in got.rows]
    assert places == [(0, 1, "id1"), (0, 3, "id2"), (1, 1, "id3"), (2, 2, "id4"), (3, 1, "id5")]
    letters = [(letter.position, Path(letter.file).name) for letter in got.letters]
    assert letters == [((0, 2), "1.ndjson"), ((1, 2), "2.ndjson.gz")]


def test_progress_ends_at_the_size_of_the_files(tmp_path: Path) -> None:
    write_lines(tmp_path / "1.ndjson.gz", [line(impression(i)) for i in range(500)])
    write_parquet(tmp_path / "2.parquet", [impression(i) for i in range(50)], "flat")
    write_csv(tmp_path / "3.csv", [impression(1)], ["impression_id", "ts", *FIELDS])
    for after in (None, ReadCursor((1, 30), 0), ReadCursor((2, 2), 0)):
        log = open_log(tmp_path, SCHEMA, "impressions", after=after, block_rows=10)
        seen = [log.bytes_read for _ in log]
        assert seen == sorted(seen)
        assert log.bytes_read == log.bytes_total
        assert log.bytes_total == sum(file.stat().st_size for file in log.files)


def test_rows_held_back_are_given_before_an_error(tmp_path: Path) -> None:
    write_lines(tmp_path / "1.ndjson", [line(impression(1))])
    (tmp_path / "2.parquet").write_bytes(b"broken")
    log = open_log(tmp_path, SCHEMA, "impressions", guard=GuardSettings(agree_rows=500))
    chunks = iter(log)
    assert len(next(chunks).rows) == 1
    with pytest.raises(DataError, match=r"2\.parquet"):
        next(chunks)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=6)
number = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63), 2**63 - 1)
element = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r|"), min_size=1)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


events = st.fixed_dictionaries(
    {
        "impression_id": st.text(st.characters(codec="utf-8"), min_size=1, max_size=3).filter(
            lambda value: not set(value) & set("\r\n")
        ),
        "ts": st.integers(0, 10**11),  # less than the guard allows
        "offset": maybe(number),
        "weight": maybe(st.floats(1e-9, 1e9)),
        "query_id": maybe(text),
        "position": maybe(whole),
        "model_version": maybe(text),
        "served_p": maybe(st.floats(0, 1)),
        "features": st.fixed_dictionaries(
            {
                "item": maybe(text),
                "price": maybe(number),
                "size": maybe(whole),
                "tags": maybe(st.lists(element, min_size=1, max_size=3)),
                "new": maybe(st.booleans()),
            }
        ),
    }
)


@IN_ANY_FOLDER
@given(rows=st.lists(events, max_size=6))
def test_every_format_gives_the_same_events(tmp_path: Path, rows: list[Row]) -> None:
    own = list(impression(0) | {"offset": 0, "model_version": "", "served_p": 0})
    own.remove("features")
    paths = [
        write_lines(tmp_path / "a.ndjson", [line(row) for row in rows]),
        write_lines(tmp_path / "u.ndjson.gz", [line(row, ensure_ascii=False) for row in rows]),
        *(write_parquet(tmp_path / f"{way}.parquet", rows, way) for way in ("struct", "flat")),
        write_csv(tmp_path / "c.csv", rows, [*own, *FIELDS]),
        write_csv(tmp_path / "d.csv.gz", rows, [*(f"features.{name}" for name in FIELDS), *own]),
    ]
    for path in paths:
        got = read(path)
        assert not got.letters
        first = 2 if ".csv" in path.name else 1
        assert got.rows == [as_read(row, i) for i, row in enumerate(rows, first)], path


def everything(steps: list[MergedStep]) -> tuple[list[Row], list[Row], list[int], list[DeadLetter]]:
    """Impressions, clicks, their order (without the ends) and the letters, sorted."""
    order = [code for step in steps for code in step.order.tolist() if code < 2]
    return (
        [row for step in steps for row in step.impressions.to_pylist()],
        [row for step in steps for row in step.clicks.to_pylist()],
        order,
        sorted((one for step in steps for one in step.rejected), key=lambda one: str(one)),
    )


FAR = 400 * 24 * 3_600_000


@pytest.fixture(scope="module")
def both_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two logs in files of all kinds, out of order, with bad rows and wrong clocks."""
    folder = tmp_path_factory.mktemp("logs")
    shown = [impression(i, ts=1_000 + 13 * i - 40 * (i % 7)) for i in range(90)]
    for i in (0, 31, 32, 60, 89):
        shown[i]["ts"] += FAR
    clicked = [click(i, ts=1_010 + 26 * i - 60 * (i % 5)) for i in range(45)]
    clicked[20]["ts"] += FAR
    lines = [line(row) for row in shown[:40]]
    lines[7:7], lines[33:33] = [b"{", b""], [lines[3] + lines[3]]
    (folder / "impressions").mkdir()
    write_lines(folder / "impressions" / "1.ndjson", lines)
    write_csv(folder / "impressions" / "2.csv", shown[40:60], ["ts", "impression_id", *FIELDS])
    write_parquet(folder / "impressions" / "3.parquet", shown[60:], "bare")
    write_lines(folder / "clicks.ndjson.gz", [b"[]", *map(line, clicked), b"17"])
    return folder


def both(folder: Path, sizes: dict[str, int], after: MergedStep | None = None) -> list[MergedStep]:
    """The steps of both logs, those after a step if it is given."""
    guard = GuardSettings(agree_rows=8)
    rows, size = sizes.get("block_rows", 1000), sizes.get("block_bytes", 1 << 20)
    impressions = open_log(
        folder / "impressions",
        SCHEMA,
        "impressions",
        guard=guard,
        after=after.impressions_at if after else None,
        block_rows=rows,
        block_bytes=size,
    )
    clicks = open_log(
        folder / "clicks.ndjson.gz",
        SCHEMA,
        "clicks",
        guard=guard,
        after=after.clicks_at if after else None,
        block_rows=rows,
        block_bytes=size,
    )
    return list(merged(impressions, clicks))


@pytest.mark.parametrize("sizes", [{}, {"block_bytes": 200, "block_rows": 3}, {"block_rows": 1}])
def test_reading_on_after_any_step_gives_exactly_the_rest(
    both_logs: Path, sizes: dict[str, int]
) -> None:
    steps = both(both_logs, sizes)
    impressions, clicks, _, letters = everything(steps)
    # Four of the five wrong clocks are caught: nothing follows the last row.
    assert (len(impressions), len(clicks)) == (86, 44)
    assert {letter.reason for letter in letters} == {"not_one_object", "too_far_ahead"}
    assert everything(both(both_logs, {})) == everything(steps)
    for at in range(0, len(steps), max(1, len(steps) // 12)):
        rest = both(both_logs, sizes, after=steps[at])
        assert everything(rest) == everything(steps[at + 1 :])


@pytest.mark.usefixtures("real_logs")
def test_trivago_is_clean() -> None:
    impressions = open_log(trivago.IMPRESSIONS, TRIVAGO, "impressions")
    clicks = open_log(trivago.CLICKS, TRIVAGO, "clicks")
    rows = ends = 0
    for step in merged(impressions, clicks):
        assert not step.rejected
        rows += len(step.impressions)
        ends += int((step.order > 1).sum())
    assert (rows, ends) == (312_539, 2)


def test_letters_are_written_one_a_line_and_kept_when_resuming(tmp_path: Path) -> None:
    path = tmp_path / "dead-letter.ndjson"
    letters = [
        DeadLetter("clicks", "log\udcff", 0, i, "bad_json", "é", "raw\n", "click") for i in range(3)
    ]
    with DeadLetterWriter(path) as writer:
        writer.write(tuple(letters[:2]))
        keep = len(path.read_bytes())
        writer.write((letters[2],))
    with DeadLetterWriter(path, keep) as writer:
        writer.write((letters[2],))
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    assert [row["src_row"] for row in rows] == [0, 1, 2]
    assert rows[0] == {
        "source": "clicks",
        "file": "log\udcff",
        "src_offset": 0,
        "src_row": 0,
        "reason": "bad_json",
        "detail": "é",
        "raw": "raw\n",
        "click_type": "click",
    }


def test_what_a_letter_quotes_is_short() -> None:
    assert shown(None) == "null"
    assert shown("é" * 99) == '"' + "é" * 59 + "…"
    assert raw_line(b"\xff" + "é".encode() * 5000) == "\ufffd" + "é" * 999
