"""How long learning pauses for its own upkeep: `python -m benchmarks.pauses`.

Each part builds a learner of sixteen million coordinates and watches the steps of one kind of
upkeep, which learning waits for between two examples: growth, while the table fills and doubles;
eviction, while new features come to a full table; expiry, while all of it turns stale; rotation,
while all filters are emptied after a leap of event time. Only the time for which the thread itself
ran counts. Prints how many steps there were, the median and the
longest. Exits with 1 if one took longer than asked.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.layout import FIXED, LAYOUTS

TARGET_MS = 50.0
FIELDS = 30
ROWS = 1000
HOUR = 3_600_000
FILTER_BYTES = 24  # for each feature outside the table, over all generations
OFF = AdmissionSettings()


Watched = dict[str, list[float]]  # ms that each step took, by what was watched


def watch(owner: Any, *names: str) -> list[float]:
    """Have these methods of `owner` note how many ms each call takes, and return where."""
    taken: list[float] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            result = function(*args, **kwargs)
            taken.append((time.thread_time() - start) * 1000)
            return result

        return timed

    for name in names:
        setattr(owner, name, watched(getattr(owner, name)))
    return taken


def teach(model: Learner, rows: int, rng: np.random.Generator | None = None, hour: int = 0) -> None:
    """Learn from so many rows of new features, in that hour; without `rng`, of none."""
    fields = FIELDS if rng is not None else 0
    first = int(model._tally["examples"][0])
    none = np.empty(0, np.uint64)
    model.learn(
        np.arange(rows + 1) * fields,
        none if rng is None else rng.integers(1, 2**64, rows * fields, dtype=np.uint64),
        np.empty(0),
        label=(np.arange(rows) % 20 == 0).astype(np.int8),
        offset=np.zeros(rows),
        weight=np.ones(rows),
        place=np.arange(first, first + rows),
        ts=np.full(rows, hour * HOUR),
    )


def settings(layout: str, coordinates: int, **others: int) -> LearnerSettings:
    """Those of a table that is full with so many coordinates."""
    memory = -(-coordinates * 8 // 7 * LAYOUTS[FIXED].itemsize // 2**20)
    values = {"layout": layout, "max_features": coordinates, "memory": memory, **others}
    return LearnerSettings.model_validate(values)


def growth(coordinates: int) -> Watched:
    """Fill a table until the doubling after so many coordinates is done."""
    model = Learner(settings("float32", 4 * coordinates), OFF)
    table, rng = model._table, np.random.default_rng(1)
    taken = watch(table, "reserve", "keep_growing")
    while model.features < coordinates or table.growing:
        teach(model, ROWS, rng)
    capacity = len(model.slots)
    while table.growing or len(model.slots) == capacity:
        teach(model, ROWS, rng)
    return {f"growth to {len(model.slots):,} slots": taken}


def eviction(coordinates: int) -> Watched:
    """Have new features come to a full table."""
    found = {}
    for layout in ("float32", FIXED):
        model = Learner(settings(layout, coordinates), OFF)
        rng = np.random.default_rng(2)
        taken = watch(model._eviction, "make_room", "clear_bucket")
        while model.evicted < coordinates // 8:
            teach(model, ROWS, rng)
        found[f"eviction, {layout}"] = taken
    return found


def expiry(coordinates: int) -> Watched:
    """Let every feature turn stale."""
    found = {}
    for layout in ("float32", FIXED):
        # Nothing expires before the table is full.
        model = Learner(settings(layout, coordinates, expire_after=coordinates // FIELDS * 2), OFF)
        rng = np.random.default_rng(3)
        while model.features < coordinates * 0.99:
            teach(model, ROWS, rng)
        taken = watch(model._eviction, "expire")
        while model.features:
            teach(model, ROWS)
        found[f"expiry, {layout}"] = taken
    return found


def rotation(coordinates: int) -> Watched:
    """Have event time leap by a day, so that every filter is to be emptied at once."""
    admission = AdmissionSettings(
        kind="bloom", memory=coordinates * FILTER_BYTES / 2**20, rotate_period=HOUR
    )
    model = Learner(settings("float32", ROWS), admission)
    teach(model, ROWS, np.random.default_rng(4))
    taken = watch(model, "learn")
    for _ in range(ROWS):
        teach(model, 1, hour=24)
    return {"rotation, an example": taken}


PARTS: dict[str, Callable[[int], Watched]] = {
    "growth": growth,
    "eviction": eviction,
    "expiry": expiry,
    "rotation": rotation,
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--coordinates", type=int, default=16_000_000)
    parser.add_argument("--only", choices=list(PARTS), action="append")
    args = parser.parse_args()
    for name in args.only or PARTS:
        PARTS[name](100_000)  # compiles
    table = Table("upkeep", "steps", "median ms", "longest ms", box=None)
    worst = 0.0
    for name in args.only or PARTS:
        for title, taken in PARTS[name](args.coordinates).items():
            worst = max(worst, *taken)
            table.add_row(title, f"{len(taken):,}", f"{np.median(taken):.2f}", f"{max(taken):.1f}")
    Console().print(table)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"longest pause {worst:.1f} ms, asked {TARGET_MS:.0f}; {memory:.1f} GiB at most")
    raise SystemExit(0 if worst <= TARGET_MS else 1)


if __name__ == "__main__":
    main()
