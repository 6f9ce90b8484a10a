"""`clickloop bench` of two versions in turn: `python -m benchmarks.paired_bench DIR -- WORDS...`.

DIR is a checkout of the other version (`git worktree add DIR COMMIT`); WORDS are those of
`clickloop bench`, for example `join --open 50000 --rounds 1 --events 0`. Each pair runs both
versions one after the other, in turn the one and the other first, so that whatever else the machine
does meets both. Prints, for each rate of the document, the time of this version over the other's:
the median of the pairs' ratios and its 95% interval (bootstrap). Whole commands are noisy: to tell
a few hundredths apart, `benchmarks.paired` compares learner and joiner chunk by chunk.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.paired import interval
from tests import ROOT


def rates(checkout: Path, words: list[str]) -> dict[str, float]:
    """The figures per second that `clickloop bench` of a checkout gives."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy", "bench", *words, "--json"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures = json.loads(done.stdout)["figures"]
    return {one["name"]: one["value"] for one in figures if one["unit"] == "1/s" and one["value"]}


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paired_bench", description="clickloop bench of two versions."
    )
    parser.add_argument("dir", type=Path, help="a checkout of the other version")
    parser.add_argument("--pairs", type=int, default=15, help="how many (default: 15)")
    parser.add_argument("words", nargs="+", help="of `clickloop bench`, after --")
    asked = parser.parse_args()
    other = asked.dir.resolve()
    for checkout in (ROOT, other):
        rates(checkout, asked.words)  # compiles
    found: dict[str, list[float]] = {}
    for pair in range(asked.pairs):
        order = (ROOT, other) if pair % 2 else (other, ROOT)
        measured = {checkout: rates(checkout, asked.words) for checkout in order}
        for name, rate in measured[ROOT].items():
            if name in measured[other]:
                found.setdefault(name, []).append(measured[other][name] / rate)
    print(f"time of this version / the other's, {asked.pairs} pairs: bench {' '.join(asked.words)}")
    for name, ratios in found.items():
        median, low, high = interval(np.array(ratios))
        print(f"  {name:36} {median:.3f}  95% interval {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
