"""`clickloop worker learn` that writes down when it learned from what.

Usage: python -m benchmarks.kafka.learner CONFIG STORE JOURNAL, the last a folder to be made.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy import settings
from deploy.workers.learn.command import learn
from deploy.workers.learn.online_trainer import OnlineTrainer
from streams.compute.arrays import I64


@dataclass(frozen=True, slots=True)
class Learned:
    """What a learner learned from. at: when it was done with each batch, µs since the epoch.
    partition, rows: of each batch. ts: of each example, ms.
    """

    at: I64
    partition: I64
    rows: I64
    ts: I64


def rows_in(journal: Path) -> int:
    """How many examples were learned from so far."""
    ts = journal / "ts"
    return ts.stat().st_size // 8 if ts.exists() else 0


def read(journal: Path) -> Learned:
    """All that was learned. Only once the learner rests."""
    at, partition, rows = np.fromfile(journal / "batches", np.int64).reshape(-1, 3).T
    return Learned(at, partition, rows, np.fromfile(journal / "ts", np.int64))


def main(config: str, store: str, journal: str) -> None:
    """Run the worker."""
    folder = Path(journal)
    folder.mkdir()
    batches = os.open(folder / "batches", os.O_WRONLY | os.O_CREAT)
    times = os.open(folder / "ts", os.O_WRONLY | os.O_CREAT)
    learn_batch: Any = OnlineTrainer._learn

    def learning(self: OnlineTrainer, batch: Any, partition: int, where: str) -> None:
        learn_batch(self, batch, partition, where)
        line = time.time_ns() // 1000, partition, batch.num_rows
        os.write(batches, np.array(line).tobytes())
        os.write(times, batch.column("ts").to_numpy().tobytes())

    OnlineTrainer._learn = learning  # type: ignore[method-assign] # to look on, not to change it
    loaded = settings.load(Path(config))
    learn(loaded, Path(store), None)


if __name__ == "__main__":
    main(*sys.argv[1:])
