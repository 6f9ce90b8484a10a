"""What the joiner holds: bytes an open impression, and nothing that grows with the stream."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from joiner import Joiner, JoinSettings, SamplingSettings
from streams.compute.arrays import I64, U8
from streams.schema import EventSchema

SCHEMA = EventSchema(())
MINUTE = 60_000


def ids(numbers: I64) -> pa.Array:
    """A distinct id of 12 characters for each number."""
    return pa.array(np.char.zfill(numbers.astype("U12"), 12), pa.string())


def impressions(numbers: I64, ts: I64) -> pa.RecordBatch:
    """Impressions with these numbers and times."""
    rows = len(numbers)
    columns = {
        "impression_id": ids(numbers),
        "ts": pa.array(ts),
        "offset": pa.array(np.zeros(rows)),
        "weight": pa.array(np.ones(rows)),
        "src_offset": pa.array(np.zeros(rows, np.int64)),
        "src_row": pa.array(numbers),
    }
    nulls = {f.name: pa.nulls(rows, f.type) for f in SCHEMA.impressions if f.name not in columns}
    return pa.RecordBatch.from_pydict(columns | nulls, schema=SCHEMA.impressions)


def clicks(numbers: I64, ts: I64) -> pa.RecordBatch:
    """Clicks on the impressions with these numbers."""
    rows = len(numbers)
    columns = {
        "impression_id": ids(numbers),
        "ts": pa.array(ts),
        "impression_ts": pa.nulls(rows, pa.int64()),
        "type": pa.array(np.zeros(rows, np.int8)),
        "src_offset": pa.array(np.zeros(rows, np.int64)),
        "src_row": pa.array(numbers),
    }
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA.clicks)


def stream(
    rows: int, step: int, first: int = 0, every_ms: int = 10
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch, U8]]:
    """Steps of impressions, one each `every_ms`; every tenth is clicked at the step's end, and
    every hundredth has an unknown namesake clicked, which waits."""
    for start in range(first, first + rows, step):
        numbers = np.arange(start, start + step)
        strays = 10**11 + numbers[::100]
        clicked = np.concatenate([numbers[::10], strays])
        ts = np.full(len(clicked), numbers[-1] * every_ms)
        order = np.repeat(np.array([0, 1], np.uint8), [step, len(clicked)])
        yield impressions(numbers, numbers * every_ms), clicks(clicked, ts), order


def joiner_of(window: int, dedupe: int | None = None) -> Joiner:
    """A joiner with a lateness of a second."""
    join = JoinSettings(window=window, lateness=1_000, dedupe_horizon=dedupe)
    return Joiner(SCHEMA, join, SamplingSettings())


def test_bytes_an_open_impression() -> None:
    joiner = joiner_of(window=600 * MINUTE)
    waiting = joiner_of(window=MINUTE).bytes
    for k, step in enumerate(stream(400_000, 4_000)):
        joiner.process(*step)
        if k >= 10:
            assert joiner.ledger.open == joiner.open_impressions == (k + 1) * 4_000
            queue = 20 * (k + 1) * 4_000 // 100  # clicks that wait, generously
            assert joiner.bytes - waiting <= 48 * 1.1 * joiner.open_impressions + 100 * queue
    ring_and_index = joiner.bytes - joiner_of(window=MINUTE).bytes
    assert joiner.open_impressions == 400_000
    assert ring_and_index <= 48 * 400_000


def test_memory_stays_flat_on_an_endless_stream() -> None:
    joiner = joiner_of(window=2 * MINUTE)
    sizes = []
    for step in stream(600_000, 4_000):  # 100 minutes
        joiner.process(*step)
        sizes.append((joiner.bytes, joiner.row_bytes))
    a_while = len(sizes) // 5
    early, later = sizes[a_while : 2 * a_while], sizes[2 * a_while :]
    for kind in (0, 1):
        assert max(size[kind] for size in later) <= 1.1 * max(size[kind] for size in early)
    state = joiner.state()
    assert state["known"].num_rows < 2 * joiner.open_impressions + 4_000 + 200
    assert sum(batch.num_rows for batch in state["rows"]) == joiner.open_impressions
    assert state["waiting"].num_rows == joiner.ledger.all_clicks.waiting
    assert joiner.ledger.balances()


def test_memory_shrinks_after_a_peak() -> None:
    joiner = joiner_of(window=MINUTE)
    for step in stream(200_000, 4_000, every_ms=0):  # all at once
        joiner.process(*step)
    peak = joiner.bytes
    for step in stream(200_000, 4_000, first=10**7):
        joiner.process(*step)
    assert joiner.ledger.open < 10_100
    assert joiner.bytes < peak / 4
    assert joiner.row_bytes < 3_000_000


def test_small_steps_are_kept_together() -> None:
    joiner = joiner_of(window=600 * MINUTE)
    for step in stream(1_500, 3):
        joiner.process(*step)
    rows = joiner.state()["rows"]
    assert sum(batch.num_rows for batch in rows) == 1_500
    assert len(rows) < 20
