"""The labelled examples of a pair of logs, joined and hashed: what benchmarks learn from."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from deploy.replay.replay import EXAMPLES, replay
from deploy.settings import Settings
from ftrl.features import Coordinates, Features
from streams.compute.arrays import F64, I8, I64, U64

_ROWS = 20_000  # of a batch


class Hashed(NamedTuple):
    """Examples in the order of their impressions, as `Learner.learn` takes them."""

    indptr: I64
    keys: U64
    values: F64
    label: I8


def hashed(settings: Settings, impressions: Path, clicks: Path) -> Hashed:
    """Join two logs with `settings`, and hash the examples. Raises as `replay` does."""
    with tempfile.TemporaryDirectory(prefix="clickloop-logs-") as folder:
        out = Path(folder) / "run"
        replay(settings, str(impressions), str(clicks), out)
        parts = list(_parts(settings, out / EXAMPLES))
    counts = [np.diff(coordinates.indptr) for coordinates, _ in parts]
    return Hashed(
        np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts])),
        np.concatenate([coordinates.keys for coordinates, _ in parts]),
        np.concatenate([coordinates.values for coordinates, _ in parts]),
        np.concatenate([label for _, label in parts]),
    )


def _parts(settings: Settings, examples: Path) -> Iterator[tuple[Coordinates, I8]]:
    features = Features(settings.features)
    for path in sorted(examples.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(_ROWS):
            yield features.coordinates(batch), batch.column("label").to_numpy()
