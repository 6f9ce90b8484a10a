"""The seeded traffic of `bench join`: two logs in the order of their rows, in memory or as NDJSON.

Impressions come evenly, each up to a second out of order; a share of them is clicked after an
exponential delay. Ids are 32 hexadecimal digits, features two strings, a whole number and a price.
Everything follows from the seed and the impression's number, so any part can be made by itself.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from joiner import JoinSettings
from streams.compute.arrays import F64, I64, U64
from streams.compute.splitmix import GOLDEN, finalize
from streams.schema import EventSchema, Field

SCHEMA = EventSchema(
    (
        Field("ad_id", "string"),
        Field("city", "string"),
        Field("hour", "int"),
        Field("price", "float"),
    )
)
JOIN = JoinSettings()
CLICK_SHARE = 0.05
DELAY_MS = 300_000  # mean of a click's
DISORDER_MS = 1_000
START_MS = 1_700_000_000_000
_ADS, _CITIES = 5_000, 300
_DIGITS = 32


class Part(NamedTuple):
    """The rows of both logs that are written in a stretch of time, in `SCHEMA`."""

    impressions: pa.RecordBatch
    clicks: pa.RecordBatch

    @property
    def events(self) -> int:
        """Rows of both."""
        return int(self.impressions.num_rows + self.clicks.num_rows)


class Traffic:
    """Two logs of so many impressions and the clicks on them."""

    def __init__(self, impressions: int, gap_ms: float, seed: int) -> None:
        """gap_ms: of time between an impression and the next."""
        self._gap = gap_ms
        self._seed = seed
        numbers = np.arange(impressions)
        clicked = numbers[self._uniform(numbers, 1) < CLICK_SHARE]
        delay = -DELAY_MS * np.log1p(-self._uniform(clicked, 2))
        came = self._ts(clicked) + delay.astype(np.int64)
        order = np.argsort(came, kind="stable")
        self._clicked, self._came = clicked[order], came[order]
        self._ads, self._cities = (
            pa.array([f"{name}-{k:05d}" for k in range(count)])
            for name, count in (("ad", _ADS), ("city", _CITIES))
        )

    def part(self, start: int, stop: int) -> Part:
        """The impressions of these numbers, and the clicks that are written meanwhile."""
        first, last = np.searchsorted(self._came, [self._written(k) for k in (start, stop)])
        return Part(self._impressions(np.arange(start, stop)), self._clicks(int(first), int(last)))

    def _written(self, number: int) -> int:
        return START_MS + int(number * self._gap)

    def _ts(self, numbers: I64) -> I64:
        late = (DISORDER_MS * self._uniform(numbers, 0)).astype(np.int64)
        ts: I64 = START_MS + (numbers * self._gap).astype(np.int64) - late
        return ts

    def _impressions(self, numbers: I64) -> pa.RecordBatch:
        rows, ts = len(numbers), self._ts(numbers)
        # The k-th most frequent ad or city comes about in proportion to 1/k.
        ads, cities = (
            pa.array((count ** self._uniform(numbers, what) - 1).astype(np.int32))
            for what, count in ((3, _ADS), (4, _CITIES))
        )
        columns = {
            "impression_id": self._ids(numbers),
            "ts": pa.array(ts),
            "offset": pa.array(np.zeros(rows)),
            "weight": pa.array(np.ones(rows)),
            "features.ad_id": pa.DictionaryArray.from_arrays(ads, self._ads),
            "features.city": pa.DictionaryArray.from_arrays(cities, self._cities),
            "features.hour": pa.array(ts // 3_600_000 % 24),
            "features.price": pa.array(np.round(200 * self._uniform(numbers, 5), 2)),
            "src_offset": pa.array(np.zeros(rows, np.int64)),
            "src_row": pa.array(numbers),
        }
        schema = SCHEMA.impressions
        absent = {f.name: pa.nulls(rows, f.type) for f in schema if f.name not in columns}
        return pa.RecordBatch.from_pydict(columns | absent, schema=schema)

    def _clicks(self, first: int, last: int) -> pa.RecordBatch:
        rows = last - first
        columns = {
            "impression_id": self._ids(self._clicked[first:last]),
            "ts": pa.array(self._came[first:last]),
            "impression_ts": pa.nulls(rows, pa.int64()),
            "type": pa.array(np.zeros(rows, np.int8)),
            "src_offset": pa.array(np.zeros(rows, np.int64)),
            "src_row": pa.array(np.arange(first, last)),
        }
        return pa.RecordBatch.from_pydict(columns, schema=SCHEMA.clicks)

    def _ids(self, numbers: I64) -> pa.Array:
        halves = np.stack([self._mixed(numbers, what) for what in (6, 7)], axis=1)
        digits = pa.py_buffer(halves.tobytes().hex().encode())
        starts = pa.py_buffer(np.arange(0, _DIGITS * len(numbers) + 1, _DIGITS, dtype=np.int32))
        return pa.StringArray.from_buffers(len(numbers), starts, digits)

    def _uniform(self, numbers: I64, what: int) -> F64:
        """A number from 0 to 1, below it, for each impression and purpose."""
        share: F64 = (self._mixed(numbers, what) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return share

    def _mixed(self, numbers: I64, what: int) -> U64:
        """SplitMix64 (Steele et al., OOPSLA 2014), of which `what` chooses the stream."""
        stream = np.uint64((self._seed * 16 + what + 1) * GOLDEN % 2**64)
        return finalize((numbers.astype(np.uint64) + stream) * np.uint64(GOLDEN))


def write_ndjson(folder: Path, traffic: Traffic, impressions: int) -> int:
    """Write `impressions.ndjson` and `clicks.ndjson` into `folder`; how many events they hold."""
    folder.mkdir()
    events = 0
    with (
        (folder / "impressions.ndjson").open("wb") as shown,
        (folder / "clicks.ndjson").open("wb") as clicked,
    ):
        for start in range(0, impressions, _AT_ONCE):
            part = traffic.part(start, min(start + _AT_ONCE, impressions))
            shown.write(_impression_lines(part.impressions))
            clicked.write(_click_lines(part.clicks))
            events += part.events
    return events


_AT_ONCE = 100_000  # impressions


def _impression_lines(rows: pa.RecordBatch) -> bytes:
    def text(name: str) -> pa.Array:
        return pc.cast(rows.column(name), pa.string())

    return _lines(
        '{"impression_id":"',
        text("impression_id"),
        '","ts":',
        text("ts"),
        ',"features":{"ad_id":"',
        text("features.ad_id"),
        '","city":"',
        text("features.city"),
        '","hour":',
        text("features.hour"),
        ',"price":',
        text("features.price"),
        "}}\n",
    )


def _click_lines(rows: pa.RecordBatch) -> bytes:
    ids, ts = rows.column("impression_id"), pc.cast(rows.column("ts"), pa.string())
    return _lines('{"impression_id":"', ids, '","ts":', ts, "}\n")


def _lines(*parts: pa.Array | str) -> bytes:
    lines = pc.binary_join_element_wise(*parts, "")
    return "".join(lines.to_pylist()).encode()
