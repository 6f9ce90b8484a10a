"""Seeded schedules of everything that can go wrong: `python -m tests.system.simulation`.

A seed that fails is named; `--seed N` runs it alone. Failures are shrunk: the shortest schedule
that still fails with that seed is what is shown.
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.system.simulation.schedule import EVENTS, TURNS, Schedule

BATCH = 250


def run(seeds: range) -> tuple[Counter[str], list[tuple[int, str]]]:
    """What happened in these schedules, and the seeds that failed, with why."""
    happened: Counter[str] = Counter()
    failed = []
    for seed in seeds:
        error = outcome(seed, happened=happened)
        if error is not None:
            failed.append((seed, error))
    return happened, failed


def outcome(
    seed: int, turns: int = TURNS, events: int = EVENTS, happened: Counter[str] | None = None
) -> str | None:
    """Why the schedule fails; None if it does not."""
    try:
        world = Schedule(seed, turns, events).run()
    except Exception as error:  # whatever goes wrong is the finding
        return f"{type(error).__name__}: {error}"
    if happened is not None:
        happened.update(world.happened)
    return None


def shrunk(seed: int) -> tuple[int, int]:
    """The fewest turns, then events, with which the schedule of this seed still fails."""
    turns, events = TURNS, EVENTS
    while turns > 0 and outcome(seed, turns - 1, events):
        turns -= 1
    while events > 2 and outcome(seed, turns, events - 1):
        events -= 1
    return turns, events


def main() -> None:
    """Run many schedules and print what happened in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="only this one, and let its error show")
    args = parser.parse_args()
    if args.seed is not None:
        print(dict(Schedule(args.seed).run().happened))
        return
    start = time.perf_counter()
    stop = args.first + args.schedules
    batches = [range(a, min(a + BATCH, stop)) for a in range(args.first, stop, BATCH)]
    happened: Counter[str] = Counter()
    failed: list[tuple[int, str]] = []
    with ProcessPoolExecutor() as pool:
        done = pool.map(run, batches)
        for some, bad in track(done, total=len(batches), console=Console(stderr=True)):
            happened += some
            failed += bad
    table = Table("in all schedules", "times", box=None)
    for what, times in sorted(happened.items()):
        table.add_row(what, f"{times:,}")
    Console().print(table)
    print(
        f"{args.schedules:,} schedules, {len(failed)} failed, {time.perf_counter() - start:.0f} s"
    )
    for seed, error in failed[:5]:
        turns, events = shrunk(seed)
        print(f"seed {seed} (fails with {turns} turns, {events} events): {error}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
