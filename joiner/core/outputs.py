"""The output of a step as record batches: labelled examples, late clicks, rejected rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from joiner.core.early_clicks import EarlyClicks
from joiner.core.kernel_types import LATE, REASONS, REJECTED, TOO_LATE, StepReport
from streams.arrow_batches import empty_batch
from streams.compute.arrays import I64, Bool
from streams.schema import POSITION_FIELDS, EventSchema

LATE_SCHEMA = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("click_ts", pa.int64(), nullable=False),
        pa.field("impression_ts", pa.int64(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("delay", pa.int64(), nullable=False),
        *POSITION_FIELDS,
    ]
)
REJECTED_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        *POSITION_FIELDS,
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
    """What follows from the events of a step.

    labelled: `EventSchema.labelled`, in the order of emission. late: clicks on known impressions
    that came too late to label them (LATE_SCHEMA: the click's time and row position, the
    impression's time, the delay between them in ms, 0 where it is negative). rejected: rows that
    the join refused (REJECTED_SCHEMA: `reason` is one of REASONS, `source` is `impressions` or
    `clicks`, `type` is null for impressions). late and rejected are in event order. accepted: of
    each impression row, whether it was accepted. early: of each click row, whether it began to
    wait for its impression.
    """

    labelled: list[pa.RecordBatch]
    late: pa.RecordBatch
    rejected: pa.RecordBatch
    accepted: Bool
    early: Bool


class Reporter:
    """Builds the late clicks and the rejected rows of a step from the kernel's report."""

    def __init__(self, schema: EventSchema) -> None:
        """schema: of the batches; its click types are written by name."""
        self._types = pa.array(schema.click_types, pa.string())

    def late(
        self, report: StepReport, clicks: pa.RecordBatch, early: EarlyClicks
    ) -> pa.RecordBatch:
        """The late clicks. clicks: the step's. early: the clicks that waited since before."""
        count = int(report.filled[LATE])
        if count == 0:
            return _NO_LATE
        rows = self._clicks_at(report.late[:count, 0], clicks, early)
        impression_ts = report.late[:count, 1]
        columns = {
            "impression_id": rows.column("impression_id"),
            "click_ts": rows.column("ts"),
            "impression_ts": pa.array(impression_ts),
            "type": self._types.take(rows.column("type")),
            "delay": pa.array(np.maximum(rows.column("ts").to_numpy() - impression_ts, 0)),
            "src_offset": rows.column("src_offset"),
            "src_row": rows.column("src_row"),
        }
        return pa.RecordBatch.from_pydict(columns, schema=LATE_SCHEMA)

    def rejected(
        self,
        report: StepReport,
        impressions: pa.RecordBatch,
        clicks: pa.RecordBatch,
        early: EarlyClicks,
    ) -> pa.RecordBatch:
        """The rejected rows of both sources."""
        count = int(report.filled[REJECTED])
        if count == 0:
            return _NO_REJECTED
        reason, reference = report.rejects[:count].T
        is_click = reason != TOO_LATE
        too_late = impressions.take(pa.array(reference[~is_click]))
        refused_clicks = self._clicks_at(reference[is_click], clicks, early)
        rows = _interleaved(
            _rejects(too_late, pa.nulls(too_late.num_rows, pa.string())),
            _rejects(refused_clicks, self._types.take(refused_clicks.column("type"))),
            is_click,
        )
        sources = _SOURCES.take(pa.array(is_click.astype(np.int8)))
        reasons = _REASONS.take(pa.array(reason))
        return pa.RecordBatch.from_arrays([sources, *rows.columns, reasons], schema=REJECTED_SCHEMA)

    def _clicks_at(
        self, reference: I64, clicks: pa.RecordBatch, early: EarlyClicks
    ) -> pa.RecordBatch:
        """The clicks with these references, see `StepReport`."""
        is_early = reference < 0
        if not is_early.any():
            return clicks.take(pa.array(reference))
        return _interleaved(
            clicks.take(pa.array(reference[~is_early])),
            early.take(-1 - reference[is_early]),
            is_early,
        )


def _rejects(rows: pa.RecordBatch, types: pa.Array) -> pa.RecordBatch:
    """The columns of REJECTED_SCHEMA between `source` and `reason`."""
    names = ("src_offset", "src_row", "impression_id", "ts")
    return pa.RecordBatch.from_arrays(
        [*(rows.column(name) for name in names), types], [*names, "type"]
    )


def _interleaved(
    first: pa.RecordBatch, second: pa.RecordBatch, from_second: Bool
) -> pa.RecordBatch:
    """The rows of two batches in one, each in its order; from_second: which come from `second`."""
    if not first.num_rows or not second.num_rows:
        return first if first.num_rows else second
    rows = np.argsort(np.argsort(from_second, kind="stable"), kind="stable")
    return pa.concat_batches([first, second]).take(pa.array(rows))
