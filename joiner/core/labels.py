"""Labelled examples: the rows of decided impressions with their label columns."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joiner.core.pending import Pending
from joiner.core.ring import CLICK_BIAS, DROPPED, NO_CLICK
from streams.arrow_batches import concat_batches
from streams.compute.arrays import F64, I8, I64, Bool
from streams.compute.jit import kernel
from streams.schema import EventSchema


class Labels(NamedTuple):
    """The label columns of some impressions.

    label: I8 [types, rows]. no_click: [rows], where `click_ts` is null. The others are [rows], as
    the columns of their names.
    """

    label: I8
    click_ts: I64
    no_click: Bool
    keep_rate: F64
    kept: Bool


@kernel
def read_labels(entries: npt.NDArray[Any], keep_rate: float, out: Labels) -> None:
    """Write the label columns of decided impressions to `out`. entries: ENTRY [rows]."""
    ts, click, flags = entries["ts"], entries["click"], entries["flags"]
    types = len(out.label)
    label, click_ts, no_click = out.label, out.click_ts, out.no_click
    rates, kept = out.keep_rate, out.kept
    for row in range(len(entries)):
        bits = flags[row]
        any_label = False
        for click_type in range(types):
            bit = (bits >> np.uint32(click_type)) & np.uint32(1)
            label[click_type, row] = bit
            any_label |= bit != 0
        no_click[row] = click[row] == NO_CLICK
        click_ts[row] = ts[row] + np.int64(click[row]) - CLICK_BIAS
        # Rows with a label of any type are not subject to sampling.
        rates[row] = 1.0 if any_label else keep_rate
        kept[row] = (bits & DROPPED) == 0


class Labeller:
    """Builds the labelled examples of a step from the ring's entries and the impressions' rows."""

    def __init__(self, schema: EventSchema, keep_rate: float) -> None:
        """keep_rate: r."""
        self._schema = schema.labelled
        self._types = len(schema.click_types)
        self._rates_from = [0]  # the sequence numbers from which on the rates hold
        self._rates = [keep_rate]

    def change_rate(self, start: int, keep_rate: float) -> None:
        """Let r be `keep_rate` from the impression with the sequence number `start` on."""
        self._rates_from.append(start)
        self._rates.append(keep_rate)

    def examples(self, pending: Pending, start: int, corrections: I64) -> list[pa.RecordBatch]:
        """The examples of a step, in the order of emission.

        start: the first sequence number that the step decided. corrections: the filled rows of
        `StepReport.corrections`. Without corrections and sampling the examples are slices of the
        batches that were read.
        """
        labels = self._read(pending.entries(start, pending.first_open))
        firsts = self._first_labels(pending, start, labels)
        if len(corrections) == 0:
            return firsts
        sequence, before, click_ts = corrections.T
        rows = self._corrections(pending, sequence, click_ts)
        kept = start + np.flatnonzero(labels.kept)
        # A correction precedes the first label of the impression that was then undecided.
        order = np.argsort(np.concatenate([2 * kept + 1, 2 * before]), kind="stable")
        return [concat_batches([*firsts, rows], self._schema).take(pa.array(order))]

    def _first_labels(self, pending: Pending, start: int, labels: Labels) -> list[pa.RecordBatch]:
        columns = _columns(labels, kind=0)
        batches = []
        begin = 0
        for rows in pending.rows.slices(start, pending.first_open):
            end = begin + rows.num_rows
            kept = labels.kept[begin:end]
            batch = self._with_labels(rows, [c.slice(begin, end - begin) for c in columns])
            if not kept.all():
                batch = batch.filter(pa.array(kept))
            if batch.num_rows:
                batches.append(batch)
            begin = end
        return batches

    def _corrections(self, pending: Pending, sequence: I64, click_ts: I64) -> pa.RecordBatch:
        labels = self._read(pending.entries_at(sequence))
        rates = np.array(self._rates)[np.searchsorted(self._rates_from, sequence, "right") - 1]
        labels.keep_rate[:] = np.where(labels.label.any(axis=0), 1.0, rates)
        labels.label[0] = 1
        labels.click_ts[:] = click_ts
        labels.no_click[:] = False
        return self._with_labels(pending.rows.at(sequence), _columns(labels, kind=1))

    def _read(self, entries: npt.NDArray[Any]) -> Labels:
        rows = len(entries)
        labels = Labels(
            label=np.empty((self._types, rows), np.int8),
            click_ts=np.empty(rows, np.int64),
            no_click=np.empty(rows, np.bool_),
            keep_rate=np.empty(rows, np.float64),
            kept=np.empty(rows, np.bool_),
        )
        read_labels(entries, self._rates[-1], labels)
        return labels

    def _with_labels(self, rows: pa.RecordBatch, columns: list[pa.Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([*rows.columns, *columns], schema=self._schema)


def _columns(labels: Labels, kind: int) -> list[pa.Array]:
    return [
        *(pa.array(column) for column in labels.label),
        pa.array(labels.click_ts, mask=labels.no_click),
        pa.array(np.full(len(labels.kept), kind, np.int8)),
        pa.array(labels.keep_rate),
        pa.array(labels.kept),
    ]
