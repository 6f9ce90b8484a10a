"""The hotel-search logs, repeated with other ids and later times: traffic of any length."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from deploy.settings import load
from streams.deadletter import Source
from streams.files.clock_guard import OFF
from streams.files.logs import open_log
from streams.schema import EventSchema
from tests.support import trivago

APART_MS = 3_600_000  # between two repetitions


class Traffic:
    """Both logs, as batches in the schemas of `EventSchema`."""

    def __init__(self) -> None:
        """Raises DataError without the logs."""
        events = load(trivago.example("trivago.toml")).events
        self._logs = {
            "impressions": _read(trivago.IMPRESSIONS, events, "impressions"),
            "clicks": _read(trivago.CLICKS, events, "clicks"),
        }
        ends = [pc.min_max(batch["ts"]) for log in self._logs.values() for batch in log]
        first, last = min(e["min"].as_py() for e in ends), max(e["max"].as_py() for e in ends)
        self._span = last - first + APART_MS
        self._last = last
        self.rows = sum(batch.num_rows for batch in self._logs["impressions"])

    def batches(self, source: Source, times: int) -> Iterator[pa.RecordBatch]:
        """A log so many times over."""
        for time in range(times):
            for batch in self._logs[source]:
                yield self._shifted(batch, time)

    def prefix(self, source: Source, rows: int) -> Iterator[pa.RecordBatch]:
        """The first impressions, about so many, or the clicks of their time."""
        if source == "impressions":
            for batch in self._logs[source]:
                if rows > 0:
                    yield batch
                rows -= batch.num_rows
            return
        last = max(batch["ts"][-1].as_py() for batch in self.prefix("impressions", rows))
        for batch in self._logs[source]:
            yield batch.filter(pc.less_equal(batch["ts"], last))

    def end(self, times: int) -> int:
        """A time after everything in `batches`, ms."""
        return int(self._last + times * self._span)

    def _shifted(self, batch: pa.RecordBatch, time: int) -> pa.RecordBatch:
        ids = pc.binary_join_element_wise(batch["impression_id"], str(time), "#")
        columns = {name: batch[name] for name in batch.schema.names}
        columns |= {"impression_id": ids, "ts": pc.add(batch["ts"], time * self._span)}
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)


def _read(path: Path, events: EventSchema, source: Source) -> list[pa.RecordBatch]:
    return [chunk.rows for chunk in open_log(path, events, source, guard=OFF)]
