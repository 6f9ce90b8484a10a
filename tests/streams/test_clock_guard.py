"""The guard against clocks that run ahead: equal to the oracle, however the log is cut."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streams.deadletter import DeadLetter
from streams.files.clock_guard import Guard, GuardSettings
from streams.record import RecordType, RowChunk
from streams.schema import EventSchema
from tests.oracles.guard import believed
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

SCHEMA = EventSchema((), ("click", "hide"))
RECORD = RecordType("clicks", SCHEMA)
HOUR = 3_600_000
NIGHT = 8 * HOUR
YEAR = 365 * 24 * HOUR


def clicks(ts: list[int], first: int = 1) -> pa.RecordBatch:
    """Clicks with these times, in the lines from `first` on of one file."""
    rows = [
        {"impression_id": "x", "ts": t, "type": 1, "src_offset": 0, "src_row": i}
        for i, t in enumerate(ts, first)
    ]
    return pa.RecordBatch.from_pylist(rows, SCHEMA.clicks)


def letter(row: int) -> DeadLetter:
    return DeadLetter("clicks", "log", 0, row, "bad_json", "")


def guarded(
    chunks: list[RowChunk], max_jump: int = HOUR, agree_rows: int = 3, newest: int | None = None
) -> list[RowChunk]:
    """What comes out of a guard."""
    settings = GuardSettings(max_jump=max_jump, agree_rows=agree_rows)
    guard = Guard(settings, RECORD, ["log"], newest)
    out = [chunk for fed in chunks for chunk in guard.feed(fed)]
    return [*out, *guard.finish()]


def passed(chunks: list[RowChunk]) -> list[int]:
    return [row for chunk in chunks for row in chunk.rows.column("src_row").to_pylist()]


def refused(chunks: list[RowChunk]) -> list[int]:
    return [one.src_row for chunk in chunks for one in chunk.rejected]


def believe(ts: list[int], agree_rows: int = 3) -> list[int]:
    """The rows, counted from 1, that are accepted of a log."""
    return passed(guarded([RowChunk(clicks(ts), ())], agree_rows=agree_rows))


def test_a_fast_clock_is_not_believed() -> None:
    assert believe([10, 20, YEAR, 30, 40, 50, 60]) == [1, 2, 4, 5, 6, 7]


def test_a_first_row_with_a_fast_clock_is_not_believed() -> None:
    assert believe([YEAR, 10, 20, 30]) == [2, 3, 4]


def test_a_burst_of_less_than_half_is_not_believed() -> None:
    assert believe([10, YEAR, YEAR + 1, *range(20, 30)], agree_rows=4) == [1, *range(4, 14)]


def test_a_night_is_believed() -> None:
    assert believe([10, 20, NIGHT, NIGHT + 10, NIGHT + 20, NIGHT + 30]) == [1, 2, 3, 4, 5, 6]


def test_a_night_with_stragglers_is_believed() -> None:
    assert believe([10, NIGHT, 11, NIGHT + 1, NIGHT + 2, 12], agree_rows=4) == [1, 2, 3, 4, 5, 6]


def test_a_fast_clock_just_before_a_night_is_not_believed() -> None:
    assert believe([10, YEAR, NIGHT, NIGHT + 1, NIGHT + 2, NIGHT + 3]) == [1, 3, 4, 5, 6]


def test_a_sparse_log_is_believed() -> None:
    days = [24 * HOUR * i for i in range(6)]
    assert believe(days) == [1, 2, 3, 4, 5, 6]


def test_a_slow_clock_stops_nobody() -> None:
    ts = [YEAR + i if i % 3 else 0 for i in range(30)]
    assert believe(ts, agree_rows=6) == list(range(1, 31))


def test_nothing_follows_the_last_row() -> None:
    assert believe([10, YEAR]) == [1, 2]
    assert believe([10, YEAR, 20]) == [1, 3]


def test_the_jump_itself_is_allowed() -> None:
    after = [10, 11, 12, 13]
    assert believe([10, 10 + HOUR, *after]) == [1, 2, 3, 4, 5, 6]
    assert believe([10, 11 + HOUR + 3, *after]) == [1, 3, 4, 5, 6]


def test_the_letter_says_what_is_wrong() -> None:
    out = guarded([RowChunk(clicks([5, YEAR, 6, 7, 8]), ())])
    (one,) = [one for chunk in out for one in chunk.rejected]
    assert (one.reason, one.click_type) == ("too_far_ahead", "hide")
    assert (one.file, one.position) == ("log", (0, 2))
    assert one.detail == (
        f"ts is {YEAR}, more than 1h ahead of most of the rows that follow it; "
        "at most 1h is expected"
    )
    assert one.raw is not None
    assert f'"ts": {YEAR}' in one.raw


def test_a_log_read_on_knows_its_newest_row() -> None:
    ts = [YEAR + 5, 10, 20, 30]
    assert passed(guarded([RowChunk(clicks(ts), ())], newest=YEAR)) == [1, 2, 3, 4]
    assert passed(guarded([RowChunk(clicks(ts), ())], newest=5)) == [2, 3, 4]


def test_a_clean_chunk_passes_untouched_and_at_once() -> None:
    guard = Guard(GuardSettings(), RECORD, ["log"], 0)
    chunk = RowChunk(clicks(list(range(100))), (letter(0),))
    (out,) = guard.feed(chunk)
    assert out.rows.equals(chunk.rows)
    before, after = (rows.column("ts").buffers()[1] for rows in (chunk.rows, out.rows))
    assert after.address == before.address
    assert out.rejected == chunk.rejected
    assert list(guard.finish()) == []


@pytest.mark.parametrize("bad", [{"max_jump": 0}, {"agree_rows": 0}, {"max_jump": "4000d"}])
def test_settings_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GuardSettings.model_validate(bad)


times = st.lists(
    st.one_of(st.integers(0, 30), st.integers(0, 30), st.integers(40, 200), st.integers(0, 10**6)),
    max_size=40,
)


@settings(max_examples=tries(60))
@given(times, st.integers(1, 40), st.integers(1, 9), st.lists(st.integers(0, 9)), st.data())
def test_equals_the_oracle_however_the_log_is_cut(
    ts: list[int], max_jump: int, agree_rows: int, sizes: list[int], data: st.DataObject
) -> None:
    good = believed(ts, max_jump, agree_rows)
    is_letter = data.draw(st.lists(st.booleans(), min_size=len(ts), max_size=len(ts)))
    # Between row i and row i + 1 (places 2 i and 2 i + 2) there may be a letter.
    chunks, start = [], 0
    for size in [*sizes, len(ts)]:
        rows = range(start, min(start + size, len(ts)))
        batch = clicks([ts[i] for i in rows])
        places = pa.array([2 * i for i in rows], pa.int64())
        batch = batch.set_column(batch.schema.get_field_index("src_row"), "src_row", places)
        chunks.append(RowChunk(batch, tuple(letter(2 * i + 1) for i in rows if is_letter[i])))
        start = rows.stop
    out = guarded(chunks, max_jump, agree_rows)
    assert passed(out) == [2 * i for i in range(len(ts)) if good[i]]
    letters = {2 * i + 1 for i in range(len(ts)) if is_letter[i]}
    assert refused(out) == sorted(letters | {2 * i for i in range(len(ts)) if not good[i]})
    # Rows and letters that are out are never followed by one with a lower place.
    reached = -1
    for chunk in out:
        places = [*passed([chunk]), *refused([chunk])]
        assert places
        assert min(places) > reached
        reached = max(places)
