"""The input of a step for the kernel: checked, its ids hashed, its columns as arrays."""

import numpy as np
import pyarrow as pa

from joiner.core.kernel_types import CODES, NOT_ACCEPTED, Events
from streams.compute.arrays import I64, U8, read_only
from streams.compute.murmur3 import hash128
from streams.events import FOREVER, IMPRESSIONS_END
from streams.schema import EventSchema


class StepReader:
    """Checks the steps of one schema and makes the kernel's arrays of them."""

    def __init__(self, schema: EventSchema) -> None:
        """schema: of the batches to come."""
        self._schemas = (schema.impressions, schema.clicks)
        self._types = schema.click_types

    def read(
        self,
        impressions: pa.RecordBatch,
        clicks: pa.RecordBatch,
        order: U8,
        clocks: tuple[I64, I64] | None,
        watermarks: I64,
    ) -> Events:
        """The arrays of a step. clocks: the times that move the watermarks, None: `ts`.

        watermarks: I64 [2 or more], of the sources before the step. Raises ValueError if batches,
        order and watermarks do not fit together: a wrong order or type would make a compiled
        kernel read outside its arrays. Raises ArrowInvalid if a time or type is null.
        """
        self._check_batches(impressions, clicks)
        _check_order(order, (impressions.num_rows, clicks.num_rows), watermarks)
        impression_lo, impression_hi = hash128(impressions.column("impression_id"))
        click_lo, click_hi = hash128(clicks.column("impression_id"))
        impression_ts = read_only(impressions.column("ts").to_numpy())
        click_ts = read_only(clicks.column("ts").to_numpy())
        lengths = len(impression_ts), len(click_ts)
        if clocks is not None and (len(clocks[0]), len(clocks[1])) != lengths:
            raise ValueError("the clocks are not as long as their batches")
        return Events(
            order=read_only(order),
            impression_lo=read_only(impression_lo),
            impression_hi=read_only(impression_hi),
            impression_ts=impression_ts,
            impression_clock=impression_ts if clocks is None else read_only(clocks[0]),
            click_lo=read_only(click_lo),
            click_hi=read_only(click_hi),
            click_ts=click_ts,
            click_clock=click_ts if clocks is None else read_only(clocks[1]),
            click_type=read_only(clicks.column("type").to_numpy()),
        )

    def _check_batches(self, impressions: pa.RecordBatch, clicks: pa.RecordBatch) -> None:
        for batch, expected in zip((impressions, clicks), self._schemas, strict=True):
            if not batch.schema.equals(expected):
                raise ValueError(f"a batch has the schema {batch.schema}, expected {expected}")
        types = clicks.column("type").to_numpy()
        if len(types) and not 0 <= types.min() <= types.max() < len(self._types):
            raise ValueError(
                f"click types are indexes into {self._types}; the step holds "
                f"{types.min()} to {types.max()}"
            )


def _check_order(order: U8, rows: tuple[int, int], watermarks: I64) -> None:
    counts: list[int] = np.bincount(order, minlength=CODES).tolist()
    if len(counts) > CODES:
        raise ValueError(f"the order holds the code {order.max()}; codes are below {CODES}")
    for source, name in enumerate(("impressions", "clicks")):
        end, read_again = source + IMPRESSIONS_END, source + NOT_ACCEPTED
        events = counts[source] + counts[read_again]
        if events != rows[source]:
            raise ValueError(f"the order names {events} {name}, not {rows[source]}")
        if counts[end] > 1 or (watermarks[source] == FOREVER and events + counts[end]):
            raise ValueError(f"the {name} had ended already")
        if counts[end] and np.any(order[np.argmax(order == end) :] == source):
            raise ValueError(f"the order names {name} after their end")
