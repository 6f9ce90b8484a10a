"""Many seeds of every fault on a real broker: `python -m tests.system.kafka.faults [--runs N]`."""

import argparse
import multiprocessing
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.system.kafka.scenarios import SCENARIOS, run
from tests.system.kafka.shared import broker
from tests.system.kafka.stage import compile_kernels

SHOWN = (
    "joined impressions",
    "void blocks",
    "late clicks",
    "joined duplicates",
    "joined corrections",
    "kills",
    "rebalances",
    "dead letters",
    "full disks",
)


def main() -> None:
    """Print a line a run; exit with 1 if something was wrong after one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    args = parser.parse_args()
    names, failed = list(SCENARIOS), 0
    seeds = range(args.first, args.first + args.runs)
    runs = [(seed, names[(seed - 1) % len(names)]) for seed in seeds]
    found: dict[int, Counter[str]] = {}
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        broker(Path(folder)) as address,
        ProcessPoolExecutor(args.jobs, spawn) as pool,
    ):
        compile_kernels(Path(folder))
        started = {pool.submit(_run, name, address, folder, seed): seed for seed, name in runs}
        for done in as_completed(started):
            seed = started[done]
            try:
                found[seed] = done.result()
                print(f"seed {seed}: right", file=sys.stderr)
            except Exception:  # whatever it was, the others go on
                failed += 1
                print(f"seed {seed}: wrong", file=sys.stderr)
                traceback.print_exc()
    table = Table("scenario", "seed", *(name.removeprefix("joined ") for name in SHOWN), box=None)
    for seed, name in sorted(runs, key=lambda each: (names.index(each[1]), each[0])):
        shown = [f"{found[seed][what]:,}" for what in SHOWN] if seed in found else ["FAILED"]
        table.add_row(name, str(seed), *shown)
    Console(width=150).print(table)
    print(f"{args.runs} runs, {failed} with something lost, repeated, mislabelled or not corrected")
    sys.exit(bool(failed))


def _run(name: str, address: str, folder: str, seed: int) -> Counter[str]:
    place = Path(folder) / str(seed)
    place.mkdir()
    return run(name, address, place, seed)


if __name__ == "__main__":
    main()
