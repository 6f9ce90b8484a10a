"""How long training waits for a checkpoint: `python -m tests.benchmarks.save_pause`.

A loop whose table has four million coordinates, behind admission filters: one whole save and then
ones after some training. While a save is written in the background training goes on in small
batches; what a batch takes longer than its median is waiting too.
"""

import argparse
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from deploy import checkpoint, settings
from deploy.loop import Loop
from deploy.pages import Kept
from deploy.store import Store
from ftrl.learner import Learner
from ftrl.table import LAYOUTS
from streams.jit import U64

FEATURES_A_ROW = 20
ROWS = 250
ASKED_MS = 100.0
CONFIG = """
[join]
correction_horizon = "1h"
[admission]
kind = "bloom"
admit_after = 0
[features.fields]
ad = { kind = "categorical" }
"""


def learn(learner: Learner, keys: U64) -> float:
    """Seconds that a batch of `keys`, FEATURES_A_ROW a row, takes."""
    rows = len(keys) // FEATURES_A_ROW
    start = time.perf_counter()
    learner.learn(
        np.arange(rows + 1) * FEATURES_A_ROW,
        keys,
        np.empty(0),
        label=(np.arange(rows) % 20 == 0).astype(np.int8),
        offset=np.zeros(rows),
        weight=np.ones(rows),
        place=np.arange(rows),
    )
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--coordinates", type=int, default=4_000_000)
    parser.add_argument("--layout", default="float32", choices=list(LAYOUTS))
    args = parser.parse_args()
    values = tomllib.loads(CONFIG) | {"learner": {"layout": args.layout, "memory": 64}}
    loop = Loop(settings.parse(values, "here"), on_mark=lambda _: None)
    learner = loop.learner
    rng = np.random.default_rng(1)
    ids: U64 = rng.integers(1, 2**64, args.coordinates, dtype=np.uint64)
    learn(learner, ids)
    usual = float(np.median([learn(learner, rng.choice(ids, 5000)) for _ in range(50)]))
    table = Table("save", "touched", "copy ms", "longest wait in a batch ms", "written s", box=None)
    worst = 0.0
    with tempfile.TemporaryDirectory() as name, Store(Path(name) / "s", create=True) as store:
        kept = Kept(store)
        for save, batches in enumerate((0, 20, 200, 2000)):
            for _ in range(batches):
                learn(learner, rng.choice(ids, 5000))
            start = time.perf_counter()
            values, arrays = checkpoint.state_of(loop)
            touched = learner.take_touched()
            kept.save(learner.slots, touched, arrays, values)
            copied = time.perf_counter() - start
            waits = [0.0]
            while kept.busy:
                waits.append(learn(learner, rng.choice(ids, ROWS * FEATURES_A_ROW)) - usual)
            written = time.perf_counter() - start
            worst = max(worst, copied * 1000, max(waits) * 1000)
            figures = f"{copied * 1000:.0f}", f"{max(waits) * 1000:.0f}", f"{written:.2f}"
            table.add_row(str(save + 1), f"{int(np.bitwise_count(touched).sum()):,}", *figures)
    Console().print(table)
    verdict = "holds" if worst <= ASKED_MS else "does not hold"
    print(f"longest wait {worst:.0f} ms at {learner.features:,} coordinates, asked {ASKED_MS:.0f}")
    print(verdict)


if __name__ == "__main__":
    main()
