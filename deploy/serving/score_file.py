"""Score a log of impressions into a file: `clickloop score`."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from deploy.serving.scorer import SCORES, Scorer
from streams.deadletter import DeadLetterWriter
from streams.errors import ConfigError
from streams.files import OFF, open_log


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
            dead.write(chunk.rejected)
            rejected.update(letter.reason for letter in chunk.rejected)
            if progress is not None:
                progress(log.bytes_read, log.bytes_total)
    if not rejected:
        letters.unlink()
    return Scored(scorer.manifest.version, rows, total / rows if rows else None, rejected, letters)


Write = Callable[[pa.RecordBatch], None]


@contextmanager
def _columns(path: Path) -> Iterator[Write]:
    writer = pq.ParquetWriter if path.suffix == ".parquet" else pyarrow.csv.CSVWriter
    with writer(path, SCORES) as file:
        yield file.write_batch


@contextmanager
def _ndjson(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda batch: file.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())


_WRITERS = {".parquet": _columns, ".csv": _columns, ".ndjson": _ndjson}
