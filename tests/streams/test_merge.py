"""Two logs as one stream: equal to the oracle, however the logs are cut into chunks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.deadletter import DeadLetter, Source
from streams.events import CLICK, CLICKS_END, IMPRESSION, IMPRESSIONS_END
from streams.merge import MergedStep, merged
from streams.position import ReadCursor
from streams.record import RecordType, RowChunk
from streams.schema import EventSchema
from tests.oracles import merge as oracle
from tests.oracles.merge import Event
from tests.support.tiers import tries

SCHEMA = EventSchema(())
NAMES = {
    IMPRESSION: "impression",
    CLICK: "click",
    IMPRESSIONS_END: "impressions end",
    CLICKS_END: "clicks end",
}


@dataclass
class Fake:
    """A log: times of rows, in chunks; a letter stands before each row of `letters`."""

    source: Source
    chunks: list[list[int]]
    letters: frozenset[int] = frozenset()
    after: ReadCursor = field(default_factory=ReadCursor)
    read: int = 0

    @property
    def record(self) -> RecordType:
        return RecordType(self.source, SCHEMA)

    def __iter__(self) -> Iterator[RowChunk]:
        place = self.after.position or (0, -1)
        row = 0
        for times in self.chunks:
            self.read += 1
            rows, letters = [], []
            for ts in times:
                if row in self.letters and (0, 2 * row) > place:
                    letters.append(DeadLetter(self.source, "log", 0, 2 * row, "bad_json", ""))
                if (0, 2 * row + 1) > place:
                    rows.append(self._row(ts, row))
                row += 1
            yield RowChunk(pa.RecordBatch.from_pylist(rows, self.record.arrow), tuple(letters))

    def _row(self, ts: int, row: int) -> dict[str, object]:
        own = {"impression_id": str(row), "ts": ts, "src_offset": 0, "src_row": 2 * row + 1}
        return own | ({"type": 0} if self.source == "clicks" else {"offset": 0.0, "weight": 1.0})


def events(steps: list[MergedStep]) -> list[Event]:
    """Rows and ends of the logs in order, each row by its index in its log."""
    found = []
    for step in steps:
        rows = {
            IMPRESSION: iter(step.impressions.column("src_row").to_pylist()),
            CLICK: iter(step.clicks.column("src_row").to_pylist()),
        }
        for code in step.order.tolist():
            found.append((NAMES[code], next(rows[code]) // 2 if code in rows else 0))
        assert [list(left) for left in rows.values()] == [[], []]
    return found


def letters(steps: list[MergedStep], source: Source) -> list[int]:
    return [one.src_row for step in steps for one in step.rejected if one.source == source]


def whole(impressions: list[int], clicks: list[int]) -> list[Event]:
    """The events of two logs, each in one chunk."""
    logs = Fake("impressions", [impressions]), Fake("clicks", [clicks])
    return events(list(merged(*logs)))


def test_by_time_and_impressions_first_on_a_tie() -> None:
    assert whole([1, 3, 3, 7], [2, 3, 9]) == [
        ("impression", 0),
        ("click", 0),
        ("impression", 1),
        ("impression", 2),
        ("click", 1),
        ("impression", 3),
        ("impressions end", 0),
        ("click", 2),
        ("clicks end", 0),
    ]


def test_rows_behind_their_log_keep_its_order() -> None:
    assert whole([5, 1, 6], [2, 5, 7])[:5] == [
        ("click", 0),
        ("impression", 0),
        ("impression", 1),
        ("click", 1),
        ("impression", 2),
    ]


def test_empty_logs_end_at_once() -> None:
    assert whole([], []) == [("impressions end", 0), ("clicks end", 0)]
    assert whole([], [4]) == [("impressions end", 0), ("click", 0), ("clicks end", 0)]
    assert whole([4], []) == [("clicks end", 0), ("impression", 0), ("impressions end", 0)]
    assert events(list(merged(Fake("impressions", []), Fake("clicks", [])))) == whole([], [])


def test_no_chunk_is_read_before_it_is_needed() -> None:
    impressions = Fake("impressions", [[1, 2], [3, 4], [50]])
    clicks = Fake("clicks", [[3], [60], [70]])
    seen = []
    for step in merged(impressions, clicks):
        seen.append((len(step.order), impressions.read, clicks.read))
    assert seen[0] == (2, 1, 1)
    assert seen[1] == (2, 2, 1)
    # Until the impressions have ended, one chunk of them is read in a step.
    assert all(later - sooner <= 1 for (_, sooner, _), (_, later, _) in pairwise(seen))


def test_rows_are_not_copied() -> None:
    (chunk,) = Fake("impressions", [[1, 2, 3]])

    @dataclass
    class One(Fake):
        def __iter__(self) -> Iterator[RowChunk]:
            yield chunk

    step = next(merged(One("impressions", []), Fake("clicks", [[9]])))
    assert step.impressions.column("ts").buffers()[1].address == (
        chunk.rows.column("ts").buffers()[1].address
    )


@st.composite
def fakes(draw: st.DrawFn, source: Source) -> Fake:
    """A log that is nearly in order, or not at all, with letters in it."""
    steps = st.integers(-4, 9) if draw(st.booleans()) else st.integers(0, 3)
    now, times = 20, []
    for step in draw(st.lists(steps, max_size=25)):
        now = max(now + step, 0)
        times.append(now)
    cuts = sorted(draw(st.lists(st.integers(0, len(times)), max_size=6)))
    bounds = zip([0, *cuts], [*cuts, len(times)], strict=True)
    rows = st.frozensets(st.integers(0, len(times)))
    return Fake(source, [times[a:b] for a, b in bounds], draw(rows))


@settings(max_examples=tries(150))
@given(fakes("impressions"), fakes("clicks"))
def test_equals_the_oracle_however_the_logs_are_cut(impressions: Fake, clicks: Fake) -> None:
    steps = list(merged(impressions, clicks))
    times = [sum(log.chunks, list[int]()) for log in (impressions, clicks)]
    assert events(steps) == oracle.merged(*times)
    for log, ts in zip((impressions, clicks), times, strict=True):
        there = [2 * row for row in sorted(log.letters) if row < len(ts)]
        assert letters(steps, log.source) == there


@settings(max_examples=tries(100))
@given(fakes("impressions"), fakes("clicks"), st.integers(0, 40))
def test_reading_on_after_any_step_gives_the_rest(impressions: Fake, clicks: Fake, at: int) -> None:
    steps = list(merged(impressions, clicks))
    at = min(at, len(steps) - 1)
    step, done = steps[at], {"impressions end", "clicks end"}
    rest = merged(
        Fake("impressions", impressions.chunks, impressions.letters, step.impressions_at),
        Fake("clicks", clicks.chunks, clicks.letters, step.clicks_at),
    )
    left = list(rest)
    rows = [event for event in events(left) if event[0] not in done]
    assert rows == [event for event in events(steps[at + 1 :]) if event[0] not in done]
    for log in (impressions, clicks):
        assert letters(left, log.source) == letters(steps[at + 1 :], log.source)
    assert step.impressions_at.newest == newest(steps[: at + 1], "impressions")
    assert step.clicks_at.newest == newest(steps[: at + 1], "clicks")


def newest(steps: list[MergedStep], source: Source) -> int | None:
    """The greatest time of a log's rows in some steps."""
    batches = [step.impressions if source == "impressions" else step.clicks for step in steps]
    return max((ts for batch in batches for ts in batch.column("ts").to_pylist()), default=None)
