"""What a step gives, as record batches: labelled examples, late clicks, rejected rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from joiner.core.early_clicks import WaitingClicks
from joiner.core.kernel_types import LATE, REASONS, REJECTED, TOO_LATE, Facts
from streams.arrow_batches import empty_batch
from streams.compute.arrays import I64, Bool
from streams.schema import PLACE, EventSchema

LATE_SCHEMA = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("click_ts", pa.int64(), nullable=False),
        pa.field("impression_ts", pa.int64(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("delay", pa.int64(), nullable=False),
        *PLACE,
    ]
)
REJECTED_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        *PLACE,
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("type", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
# Made once: pyarrow takes long to make an array of Python strings.
_SOURCES, _REASONS = pa.array(["impressions", "clicks"]), pa.array(REASONS)
_NO_LATE, _NO_REJECTED = empty_batch(LATE_SCHEMA), empty_batch(REJECTED_SCHEMA)


@dataclass(frozen=True, slots=True)
class JoinOutput:
    """What a step gives.

    labelled: `EventSchema.labelled`, in the order of emission. late: clicks on known
    impressions that came too late to label them (LATE_SCHEMA: the click's time and place, the
    impression's time, the delay between them in milliseconds, 0 where it is negative).
    rejected: rows the join refused (REJECTED_SCHEMA; `reason` is one of REASONS, `source` is
    `impressions` or `clicks`, `type` is null for impressions). Both in event order. accepted,
    waited: of each impression row whether it was accepted, of each click row whether it began to
    wait for its impression.
    """

    labelled: list[pa.RecordBatch]
    late: pa.RecordBatch
    rejected: pa.RecordBatch
    accepted: Bool
    waited: Bool


class Reporter:
    """Builds the late clicks and the rejected rows of a step from the kernel's facts."""

    def __init__(self, schema: EventSchema) -> None:
        """schema: of the batches; its click types are written by name."""
        self._types = pa.array(schema.click_types, pa.string())

    def late(self, facts: Facts, clicks: pa.RecordBatch, waiting: WaitingClicks) -> pa.RecordBatch:
        """The late clicks. clicks: the step's; waiting: the queue those before them are in."""
        count = int(facts.filled[LATE])
        if count == 0:
            return _NO_LATE
        rows = self._clicks_at(facts.late[:count, 0], clicks, waiting)
        shown = facts.late[:count, 1]
        columns = {
            "impression_id": rows.column("impression_id"),
            "click_ts": rows.column("ts"),
            "impression_ts": pa.array(shown),
            "type": self._types.take(rows.column("type")),
            "delay": pa.array(np.maximum(rows.column("ts").to_numpy() - shown, 0)),
            "src_offset": rows.column("src_offset"),
            "src_row": rows.column("src_row"),
        }
        return pa.RecordBatch.from_pydict(columns, schema=LATE_SCHEMA)

    def rejected(
        self,
        facts: Facts,
        impressions: pa.RecordBatch,
        clicks: pa.RecordBatch,
        waiting: WaitingClicks,
    ) -> pa.RecordBatch:
        """The rejected rows of both sources."""
        count = int(facts.filled[REJECTED])
        if count == 0:
            return _NO_REJECTED
        reason, reference = facts.rejects[:count].T
        refused = reason == TOO_LATE
        shown = impressions.take(pa.array(reference[refused]))
        clicked = self._clicks_at(reference[~refused], clicks, waiting)
        parts = [
            _rejects(shown, pa.nulls(shown.num_rows, pa.string())),
            _rejects(clicked, self._types.take(clicked.column("type"))),
        ]
        rows = _woven(parts, ~refused)
        sources = _SOURCES.take(pa.array((~refused).astype(np.int8)))
        reasons = _REASONS.take(pa.array(reason))
        return pa.RecordBatch.from_arrays([sources, *rows.columns, reasons], schema=REJECTED_SCHEMA)

    def _clicks_at(
        self, reference: I64, clicks: pa.RecordBatch, waiting: WaitingClicks
    ) -> pa.RecordBatch:
        here = reference >= 0
        if here.all():
            return clicks.take(pa.array(reference))
        parts = [
            clicks.take(pa.array(reference[here])),
            waiting.take(-1 - reference[~here]),
        ]
        return _woven(parts, ~here)


def _rejects(rows: pa.RecordBatch, types: pa.Array) -> pa.RecordBatch:
    """The columns of REJECTED_SCHEMA between `source` and `reason`."""
    names = ("src_offset", "src_row", "impression_id", "ts")
    return pa.RecordBatch.from_arrays(
        [*(rows.column(name) for name in names), types], [*names, "type"]
    )


def _woven(parts: list[pa.RecordBatch], second: Bool) -> pa.RecordBatch:
    """The rows of two batches in one, each in its order; `second`: which come from the second."""
    one, other = parts
    if not one.num_rows or not other.num_rows:
        return one if one.num_rows else other
    back = np.argsort(np.argsort(second, kind="stable"), kind="stable")
    return pa.concat_batches([one, other]).take(pa.array(back))
