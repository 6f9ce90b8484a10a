"""The joiner against the oracle on real logs, trivago's, where CLICKLOOP_TEST_DATA has them."""

import gzip
import json
from collections.abc import Iterator
from heapq import merge
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from joiner import Joiner, JoinSettings, SamplingSettings
from streams.compute.arrays import U8
from streams.schema import EventSchema
from tests.oracles.join import OracleJoin, Row
from tests.support import trivago
from tests.support.join_events import plain_ledger

STEP = 10_000
WINDOW, LATENESS = 1_800_000, 10_000

SCHEMA = EventSchema(())


@pytest.fixture(scope="module")
def events(real_logs: None) -> list[tuple[int, Row]]:  # noqa: ARG001 it skips
    """Both logs merged by time: code (0 impression, 1 click) and row, then the two ends."""
    logs = [rows_of(path) for path in (trivago.IMPRESSIONS, trivago.CLICKS)]
    tagged = [[(code, row) for row in log] for code, log in enumerate(logs)]
    return [*merge(*tagged, key=lambda pair: int(pair[1]["ts"])), (2, {}), (3, {})]


def rows_of(path: Path) -> list[Row]:
    """Ids, times and lines; the rest of a row does not matter to the join."""
    with gzip.open(path) as lines:
        parsed = [json.loads(line) for line in lines]
    return [
        {"impression_id": row["impression_id"], "ts": row["ts"], "src_offset": 0, "src_row": line}
        for line, row in enumerate(parsed, 1)
    ]


def steps(events: list[tuple[int, Row]]) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch, U8]]:
    """The events as the joiner takes them."""
    for start in range(0, len(events), STEP):
        piece = events[start : start + STEP]
        shown = [row | {"offset": 0.0, "weight": 1.0} for code, row in piece if code == 0]
        clicked = [row | {"type": 0} for code, row in piece if code == 1]
        yield (
            pa.RecordBatch.from_pylist(shown, schema=SCHEMA.impressions),
            pa.RecordBatch.from_pylist(clicked, schema=SCHEMA.clicks),
            np.array([code for code, _ in piece], np.uint8),
        )


def test_labels_and_ledger_equal_the_oracles(events: list[tuple[int, Row]]) -> None:
    join = JoinSettings(window=WINDOW, lateness=LATENESS)
    oracle = OracleJoin(WINDOW, LATENESS, breaker_wait=join.breaker_wait)
    for code, row in events:
        if code == 0:
            oracle.impression(row)
        elif code == 1:
            oracle.click(row | {"type": "click"})
        else:
            oracle.end(("impressions", "clicks")[code - 2])
    joiner = Joiner(SCHEMA, join, SamplingSettings())
    labelled, late, rejected = [], [], []
    for impressions, clicks, order in steps(events):
        output = joiner.process(impressions, clicks, order)
        assert joiner.ledger.balances()
        for batch in output.labelled:
            columns = ("src_row", "label", "click_ts", "kind", "keep_rate", "kept")
            labelled += batch.select(columns).to_pylist()
        late += output.late.to_pylist()
        rejected += output.rejected.to_pylist()
    assert labelled == [{name: row[name] for name in labelled[0]} for row in oracle.labelled]
    assert late == oracle.late
    assert rejected == oracle.rejected
    assert plain_ledger(joiner) == oracle.ledger()
    assert joiner.breaker.openings == oracle.openings == 0
    assert joiner.breaker.rate == oracle.click_rate
    ledger = joiner.ledger
    assert ledger.impressions == 312_539
    assert ledger.all_clicks.read == 13_596
    assert ledger.positives > 13_000
    assert ledger.all_clicks.late > 0
