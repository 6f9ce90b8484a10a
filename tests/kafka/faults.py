"""Many seeds of every fault on a real broker: `python -m tests.kafka.faults [--runs 100]`."""

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.kafka.scenarios import SCENARIOS, run
from tests.kafka.shared import broker

SHOWN = (
    "joined impressions",
    "void blocks",
    "late clicks",
    "joined duplicates",
    "joined corrections",
    "kills",
    "rebalances",
    "zombies",
    "dead letters",
)


def main() -> None:
    """Print a line a run; exit with 1 if something was wrong after one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run")
    args = parser.parse_args()
    table = Table("scenario", "seed", *(name.removeprefix("joined ") for name in SHOWN), box=None)
    names, failed = list(SCENARIOS), 0
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as address:
        for at in range(args.runs):
            name, seed = names[at % len(names)], args.first + at
            place = Path(folder) / str(at)
            place.mkdir()
            try:
                happened = run(name, address, place, seed)
            except AssertionError:
                failed += 1
                traceback.print_exc()
                table.add_row(name, str(seed), "FAILED")
                continue
            table.add_row(name, str(seed), *(f"{happened[what]:,}" for what in SHOWN))
            print(f"{at + 1} of {args.runs}: {name}, seed {seed}: right", file=sys.stderr)
    Console(width=140).print(table)
    print(f"{args.runs} runs, {failed} with something lost, repeated, mislabelled or not corrected")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
