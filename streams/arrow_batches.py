"""Record batches made empty, joined, gathered and merged: what all rooms do with them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from streams.compute.arrays import I64


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    """A batch of this schema with no rows."""
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


def concat_batches(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """One batch with the rows of all batches; their dictionaries are unified. schema: of all."""
    if len(batches) == 1:
        return batches[0]
    return pa.concat_batches(batches) if batches else empty_batch(schema)


def take_each(batches: list[pa.RecordBatch], which: I64, rows: I64) -> list[pa.RecordBatch]:
    """Row `rows[k]` of batch `which[k]` for every k, as few batches as consecutive runs allow.

    which, rows: of the same length.
    """
    starts = np.flatnonzero(np.diff(which, prepend=-1))
    stops = np.append(starts[1:], len(which))
    return [batches[which[a]].take(pa.array(rows[a:b])) for a, b in zip(starts, stops, strict=True)]


def with_small_tail(
    batches: list[pa.RecordBatch], rows: pa.RecordBatch, small: int
) -> pa.RecordBatch:
    """`rows`, joined with the last of `batches` (which are taken off) while both are small.

    So many small batches become few of up to `small` rows, each row copied about log(small)
    times: a batch's own overhead would outweigh a handful of rows.
    """
    while batches:
        last, more = batches[-1].num_rows, rows.num_rows
        if last > 2 * more or last + more > small:
            break
        rows = pa.concat_batches([batches.pop(), rows])
    return rows
