"""Score candidates with a serving version: everything it needs is in the version."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from deploy.storage import versions
from deploy.storage.manifest import Manifest
from deploy.storage.rocksdb import Store
from ftrl import probabilities
from ftrl.features import Features
from ftrl.serving import Served
from streams.compute.arrays import F64
from streams.deadletter import DeadLetterWriter
from streams.errors import ConfigError
from streams.files import OFF, open_log

SCORES = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("logit", pa.float64(), nullable=False),
    ]
)


class Scorer:
    """One serving version, held in memory. Read-only, so threads may share it."""

    def __init__(self, manifest: Manifest, table: Served) -> None:
        """Score with `table`, as `manifest` describes it."""
        self.manifest = manifest
        self._table = table
        self._features = Features(manifest.features, learn=False)

    @classmethod
    def open(cls, store: Path, version: int | None = None) -> Self:
        """A scorer of a version in `store`, by default the newest. The store is let go of again.

        Raises StoreError if there is no such store or version, or it is damaged.
        """
        with Store(store, read_only=True) as opened:
            return cls(*versions.load(opened, version))

    def logits(self, batch: pa.RecordBatch, *, as_logged: bool = False) -> F64:
        """The logit of each row of `batch` (schema EventSchema.impressions), float64.

        as_logged: use each row's own values where the configuration has a `serve_as`.
        """
        c = self._features.coordinates(batch, serving=not as_logged)
        return self._table.logit(c.indptr, c.keys, c.values, batch.column("offset").to_numpy())

    def score(self, batch: pa.RecordBatch, *, as_logged: bool = False) -> pa.RecordBatch:
        """Id, P(click) and logit of each row, in order (schema SCORES)."""
        logit = self.logits(batch, as_logged=as_logged)
        columns = [batch.column("impression_id"), pa.array(probabilities(logit)), pa.array(logit)]
        return pa.RecordBatch.from_arrays(columns, schema=SCORES)


@dataclass(frozen=True, slots=True)
class Scored:
    """What scoring a log did. rejected: its dead letters by reason, written to `letters`."""

    version: int
    rows: int
    mean_p: float | None
    rejected: Counter[str]
    letters: Path

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "version": self.version,
            "rows": self.rows,
            "mean_p": self.mean_p,
            "rejected": dict(self.rejected),
            "letters": str(self.letters) if self.rejected else None,
        }


def score_file(
    store_path: Path,
    source: str,
    output: Path,
    *,
    version: int | None = None,
    as_logged: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """Score the impressions at `source` into `output` (`.ndjson`, `.csv` or `.parquet`).

    source: a file, a folder or a glob. version: default the newest. progress: called with bytes
    read and in all. Rows that cannot be scored go to `output`.dead-letter.ndjson.
    Raises ConfigError for another ending, StoreError, DataError.
    """
    if output.suffix not in _WRITERS:
        raise ConfigError(f"{output}: name a file that ends in {', '.join(sorted(_WRITERS))}")
    scorer = Scorer.open(store_path, version)
    log = open_log(source, scorer.manifest.features.event_schema(), "impressions", guard=OFF)
    rejected: Counter[str] = Counter()
    rows, total = 0, 0.0
    letters = output.with_name(output.name + ".dead-letter.ndjson")
    with _WRITERS[output.suffix](output) as write, DeadLetterWriter(letters) as dead:
        for chunk in log:
            scored = scorer.score(chunk.rows, as_logged=as_logged)
            write(scored)
            rows += scored.num_rows
            total += float(np.sum(scored.column("p").to_numpy()))
            dead.write(chunk.rejects)
            rejected.update(letter.reason for letter in chunk.rejects)
            if progress is not None:
                progress(log.bytes_read, log.bytes_total)
    if not rejected:
        letters.unlink()
    return Scored(scorer.manifest.version, rows, total / rows if rows else None, rejected, letters)


Write = Callable[[pa.RecordBatch], None]


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    with pq.ParquetWriter(path, SCORES) as file:
        yield file.write_batch


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with pyarrow.csv.CSVWriter(path, SCORES) as file:
        yield file.write_batch


@contextmanager
def _ndjson(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda batch: file.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".ndjson": _ndjson}
