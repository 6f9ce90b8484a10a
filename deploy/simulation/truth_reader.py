"""A reader of the truth that the simulator writes beside its logs: rows by id.

Examples come in nearly the order of the truth's rows, so only the last few batches are held.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams.compute.arrays import F64, I64, Bool
from streams.errors import DataError

BATCH = 65_536
RECENT = 16  # batches that are held

_COLUMNS = ("impression_id", "ts", "true_p", "clicked")


class TruthReader:
    """The rows of the truth, looked up by id. rows: how many there are."""

    def __init__(self, path: Path) -> None:
        """The truth in the file at `path`. Raises DataError when it cannot be read."""
        self._path = path
        self._file = open_parquet(path, _COLUMNS)
        self.rows: int = self._file.metadata.num_rows
        self._recent: deque[_Part] = deque(maxlen=RECENT)
        self._unread = self._read()

    def find(self, ids: pa.Array, ts: I64) -> tuple[I64, F64, Bool]:
        """The row of each id, its true probability, and whether it was ever clicked.

        ts: as the impressions were stamped, ms; the truth has the same. Raises DataError when
        an id is not there.
        """
        row, p = np.empty(len(ids), np.int64), np.empty(len(ids))
        clicked = np.empty(len(ids), np.bool_)
        missing = np.ones(len(ids), np.bool_)
        for part in chain(tuple(self._recent), self._unread):
            wanted = np.flatnonzero(missing & (ts >= part.first_ts) & (ts <= part.last_ts))
            if len(wanted) == 0:
                continue
            place = pc.index_in(ids.take(pa.array(wanted)), value_set=part.ids)
            found = wanted[place.is_valid().to_numpy(zero_copy_only=False)]
            at = place.drop_null().to_numpy()
            row[found], p[found], clicked[found] = part.start + at, part.p[at], part.clicked[at]
            missing[found] = False
            if not missing.any():
                break
        if missing.any():
            raise DataError(
                f"{self._path}: the impression {ids[int(missing.argmax())].as_py()!r} is not "
                "there; name the truth.parquet that was written beside the logs of this run"
            )
        return row, p, clicked

    def _read(self) -> Iterator["_Part"]:
        start = 0
        for batch in self._file.iter_batches(BATCH, columns=_COLUMNS):
            ts: I64 = batch.column("ts").to_numpy()
            part = _Part(
                start,
                int(ts.min()),
                int(ts.max()),
                batch.column("impression_id"),
                batch.column("true_p").to_numpy(),
                batch.column("clicked").to_numpy(zero_copy_only=False),
            )
            self._recent.append(part)
            yield part
            start += batch.num_rows


class _Part(NamedTuple):
    """Consecutive rows of the truth, from row `start` on. first_ts, last_ts: least, greatest."""

    start: int
    first_ts: int
    last_ts: int
    ids: pa.Array
    p: F64
    clicked: Bool


def open_parquet(path: Path, columns: Sequence[str]) -> pq.ParquetFile:
    """The file at `path`. Raises DataError when it cannot be read, or lacks one of `columns`."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}); name another") from error
    missing = ", ".join(name for name in columns if name not in file.schema_arrow.names)
    if missing:
        raise DataError(f"{path}: has no column {missing}; name another file")
    return file
