"""Event logs for the join's tests: as rows for the oracle, as steps for the joiner."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from joiner import Joiner, JoinOutput, JoinSettings, SamplingSettings
from streams.compute.arrays import U8
from streams.schema import EventSchema, Field
from tests.oracles.join import OracleJoin, Row

FIELDS = (Field("item", "string"), Field("price", "float"), Field("filters", "list"))
CODES = {"impressions": 0, "clicks": 1, "impressions end": 2, "clicks end": 3}


@dataclass(frozen=True)
class Event:
    """One event: `source` is a key of CODES; `row` is empty for an end."""

    source: str
    row: Row


def impression(impression_id: str, ts: int, place: int = 0) -> Event:
    """An impression whose features follow from its place."""
    row = {
        "impression_id": impression_id,
        "ts": ts,
        "offset": 0.5 * place,
        "weight": 1.0 + place,
        "query_id": None if place % 3 else f"q{place}",
        "position": place % 5,
        "model_version": None,
        "served_p": None,
        "features.item": f"item {place % 4}",
        "features.price": float(place),
        "features.filters": ["x"] * (place % 3),
        "src_offset": 0,
        "src_row": place,
    }
    return Event("impressions", row)


def click(impression_id: str, ts: int, kind: str = "click", place: int = 0) -> Event:
    """A click of the type `kind`."""
    row = {
        "impression_id": impression_id,
        "ts": ts,
        "impression_ts": None,
        "type": kind,
        "src_offset": 1,
        "src_row": place,
    }
    return Event("clicks", row)


def end(source: str) -> Event:
    """The end of `impressions` or `clicks`."""
    return Event(f"{source} end", {})


def schema_of(types: Sequence[str]) -> EventSchema:
    """The schema of these events."""
    return EventSchema(FIELDS, tuple(types))


def step(
    events: Sequence[Event], types: Sequence[str]
) -> tuple[pa.RecordBatch, pa.RecordBatch, U8]:
    """The events as the joiner takes them."""
    schema = schema_of(types)
    shown = [e.row for e in events if e.source == "impressions"]
    clicked = [
        e.row | {"type": list(types).index(e.row["type"])} for e in events if e.source == "clicks"
    ]
    order = np.array([CODES[e.source] for e in events], np.uint8)
    return (
        pa.RecordBatch.from_pylist(shown, schema=schema.impressions),
        pa.RecordBatch.from_pylist(clicked, schema=schema.clicks),
        order,
    )


def pieces(events: Sequence[Event], cuts: Sequence[int]) -> Iterator[Sequence[Event]]:
    """The events cut before each of these indexes."""
    bounds = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    for start, stop in pairwise(bounds):
        yield events[start:stop]


def feed_oracle(oracle: OracleJoin, event: Event) -> None:
    """Give the oracle one event."""
    if event.source == "impressions":
        oracle.impression(event.row)
    elif event.source == "clicks":
        oracle.click(event.row)
    else:
        oracle.end(event.source.removesuffix(" end"))


@dataclass
class Gathered:
    """Everything a joiner gave, as rows."""

    labelled: list[Row]
    late: list[Row]
    rejected: list[Row]

    def add(self, output: JoinOutput) -> None:
        """Append the rows of a step; every batch must be sound."""
        for batch in output.labelled:
            batch.validate(full=True)
            self.labelled += batch.to_pylist()
        for batch in (output.late, output.rejected):
            batch.validate(full=True)
        self.late += output.late.to_pylist()
        self.rejected += output.rejected.to_pylist()


def run(
    joiner: Joiner, events: Sequence[Event], cuts: Sequence[int], types: Sequence[str]
) -> Gathered:
    """The joiner's output for the events in steps cut at `cuts`; its ledger must balance."""
    gathered = Gathered([], [], [])
    for piece in pieces(events, cuts):
        gathered.add(joiner.process(*step(piece, types)))
        assert joiner.ledger.balances()
    return gathered


def plain_ledger(joiner: Joiner) -> Row:
    """The joiner's ledger as the oracle writes it; nothing may be of an undeclared type."""
    ledger: dict[str, Any] = asdict(joiner.ledger)
    undeclared = ledger["clicks"].pop("")
    assert not any(undeclared.values())
    return ledger


def settings_of(oracle: OracleJoin) -> tuple[EventSchema, JoinSettings, SamplingSettings]:
    """What a joiner must be given to do as the oracle does."""
    join = JoinSettings(
        window=oracle.window,
        lateness=oracle.lateness,
        correction_horizon=oracle.horizon,
        dedupe_horizon=oracle.dedupe,
        click_types=oracle.types,
        breaker_wait=oracle.breaker_wait,
        breaker_clicks=oracle.breaker_clicks,
        breaker_absence=oracle.breaker_absence,
        breaker_fraction=oracle.breaker_fraction,
    )
    sampling = SamplingSettings(keep_rate=oracle.rate, seed=oracle.seed)
    return schema_of(oracle.types), join, sampling
