"""The traffic as it would come live: impressions at a steady rate, each event with its own time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.kafka.plant import SOURCES
from benchmarks.kafka.traffic import Traffic
from streams.compute.arrays import F64, I64
from streams.compute.murmur2 import partitions_of
from streams.deadletter import Source
from streams.kafka.produce.producer import EventProducer

TICK_S = 0.05
BATCH = 10_000


class Live:
    """Impressions at a rate, and the clicks that they had in the log, sooner.

    Each has as `ts` the time at which it is due.
    rate: impressions a second, for so many seconds. hurry: delays of clicks are divided by it.
    """

    def __init__(self, traffic: Traffic, rate: float, seconds: float, hurry: float) -> None:
        count = int(rate * seconds)
        times = -(-count // traffic.rows)
        shown = _whole(traffic, "impressions", times).slice(0, count)
        clicks = _whole(traffic, "clicks", times)
        index = pc.index_in(clicks["impression_id"], shown["impression_id"])
        clicks, index = clicks.filter(index.is_valid()), index.drop_null().to_numpy()
        delay = (clicks["ts"].to_numpy() - shown["ts"].to_numpy()[index]) / 1000 / hurry
        due = index / rate + np.maximum(delay, 0)
        order = np.argsort(due, kind="stable")
        self._seconds = seconds
        self._rows = shown, clicks.take(pa.array(order))
        self._due: tuple[F64, F64] = np.arange(count) / rate, due[order]

    def fill(self, producers: Sequence[EventProducer], begun: float) -> None:
        """Send all of it at once, as if it had begun at that time, s since the epoch."""
        for source, (rows, due) in enumerate(zip(self._rows, self._due, strict=True)):
            for start in range(0, rows.num_rows, BATCH):
                batch = rows.slice(start, BATCH)
                ts = _ms(begun + due[start : start + BATCH])
                producers[source].send_rows(batch.set_column(1, "ts", ts), as_json=True)

    def send(self, producers: Sequence[EventProducer]) -> "Sent":
        """Send all of it at its time; returns when the time is over."""
        sent = Sent(producers[0].partitions)
        done = [0, 0]
        begun = time.time()
        while (now := time.time()) < begun + self._seconds:
            for source, (rows, due) in enumerate(zip(self._rows, self._due, strict=True)):
                start, end = done[source], int(np.searchsorted(due, now - begun))
                done[source] = end
                if end > start:
                    ts = _ms(begun + due[start:end])
                    batch = rows.slice(start, end - start).set_column(1, "ts", ts)
                    sent.note(source, batch["impression_id"], ts.to_numpy(), now)
                    producers[source].send_rows(batch, as_json=True)
            time.sleep(max(now + TICK_S - time.time(), 0))
        return sent


@dataclass
class Sent:
    """When events of each log were sent to each partition, s, and the greatest `ts` of them, ms."""

    partitions: int
    rows: int = 0
    at: dict[tuple[int, int], list[tuple[float, int]]] = field(default_factory=dict)

    def note(self, source: int, ids: pa.Array, ts: I64, now: float) -> None:
        """Events with these ids and ascending times, ms, are sent now."""
        self.rows += 0 if source else len(ids)
        numbers, last = np.unique(partitions_of(ids, self.partitions)[::-1], return_index=True)
        for number, newest in zip(numbers.tolist(), ts[::-1][last].tolist(), strict=True):
            self.at.setdefault((source, number), []).append((now, newest))

    def passed(self, number: int, ts: I64) -> F64:
        """When the watermark of a partition (lateness 0) went past these times, ms: seconds.

        Infinity where it never did.
        """
        when = np.zeros(len(ts))
        for source in range(len(SOURCES)):
            at, newest = np.array(self.at.get((source, number), [])).reshape(-1, 2).T
            index = np.searchsorted(newest, ts, "right")
            when = np.maximum(when, np.append(at, np.inf)[index])
        return when


def _whole(traffic: Traffic, source: Source, times: int) -> pa.RecordBatch:
    """A log in one batch, its strings plain: what a slice costs must not depend on the rest."""
    batches = [_plain(batch) for batch in traffic.batches(source, times)]
    return pa.concat_batches(batches)


def _ms(seconds: F64) -> pa.Array:
    return pa.array((seconds * 1000).astype(np.int64))


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
