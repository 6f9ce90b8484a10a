"""kill -9 and resume, over and over: `python -m tests.system.faults [--cycles N]` prints the table.

A child process replays and dies: at a numbered step of saving a checkpoint, while it opens its
store, or at a random moment. It is then resumed, perhaps to die again, and at last here; the
outcome must be that of a run that was never killed, in everything but its throughput. The logs are
small ones, simulated ones, and parts of trivago's where CLICKLOOP_TEST_DATA has them
(tests/system/fault_cases.py). Each has other options on, and a table says what each of these
changes.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.replay.examples_writer import ExamplesWriter
from deploy.storage.rocksdb import Store
from streams.ndjson_writer import NdjsonWriter
from tests import ROOT
from tests.support import needs, trivago
from tests.support.outcomes import outcome
from tests.system.fault_cases import Case, cases, exercised, run, straight, trivago_cases

# The steps of a save, in their order: what is about to happen when the process dies. The value is
# the prefix of the key that the store is about to write; b"" where it is another's step.
STEPS = {
    "examples": b"",
    "outputs": b"",
    "page": b"training/slots/",
    "list": b"training/blob/touched-",
    "array": b"training/blob/",
    "commit": b"training/commit",
    "committed": b"training/commit",
    "version": b"manifest/",
}


def resumed_after_kills(case: Case, out: Path, deaths: list[str]) -> tuple[dict[str, Any], int]:
    """The outcome of a run that dies as told, and how often it really died.

    deaths: `step:n` (before that step for the n-th time), `opening:n` (so many ms after it has
    begun to make or to open its store) or `after:seconds`.
    """
    died = 0
    for death in deaths:
        child = [sys.executable, "-m", "tests.system.faults", "--child", str(case.config)]
        paths = [str(case.impressions), str(case.clicks), str(out), death]
        with subprocess.Popen([*child, *paths], cwd=ROOT, stderr=subprocess.PIPE) as process:
            kind, _, number = death.partition(":")
            if kind == "after":
                try:
                    process.wait(float(number))
                except subprocess.TimeoutExpired:
                    process.kill()
            _, errors = process.communicate()
        if process.returncode in (-signal.SIGKILL, -signal.SIGALRM):
            died += 1
        elif process.returncode:
            raise AssertionError(f"{death}: {errors.decode()}")
    run(case, out)
    return outcome(out), died


def random_deaths(rng: random.Random) -> list[str]:
    """One to three deaths, at steps or at moments."""
    kinds = [*STEPS, "opening", "after", "after"]
    deaths = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(kinds)
        number: float = rng.randint(1, 4)
        if kind == "after":
            number = round(rng.uniform(1.5, 4), 2)
        elif kind == "opening":
            number = rng.randint(1, 25)
        deaths.append(f"{kind}:{number}")
    return deaths


def _child(config: str, impressions: str, clicks: str, out: str, death: str) -> None:
    step, _, number = death.partition(":")
    if step in STEPS:
        _die_at(step, int(number))
    elif step == "opening":
        _die_opening(int(number))
    run(Case("child", Path(config), Path(impressions), Path(clicks)), Path(out))


def _die_at(step: str, number: int) -> None:
    """Die before `step` happens for the `number`-th time; `committed`: after it."""
    left = [number]
    owner: Any = {"examples": ExamplesWriter, "outputs": NdjsonWriter}.get(step, Store)
    name = "write" if owner is Store else "commit"
    method = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        mine = not STEPS[step] or any(key.startswith(STEPS[step]) for key in args[1])
        left[0] -= mine
        if mine and left[0] == 0 and step != "committed":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if mine and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def _die_opening(ms: int) -> None:
    """Die `ms` after a store has begun to be made or opened; no thread can, for it is native."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    opening = Store.__init__

    def dying(*args: Any, **kwargs: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, ms / 1000)
        opening(*args, **kwargs)

    setattr(Store, "__init__", dying)  # noqa: B010 - mypy lets no method be assigned to


def show_options(runs: list[Case], expected: dict[str, dict[str, Any]], folder: Path) -> int:
    """Print what each option does in its run; how many do nothing."""
    table = Table("logs", "option", "log loss", "without", "features", "without", box=None)
    vain = 0
    for case in runs:
        for found in exercised(case, expected[case.name], folder / f"without-{case.name}"):
            vain += not found.does_something
            losses = (f"{loss:.6f}" for loss in found.log_loss)
            table.add_row(case.name, found.option, *losses, *map(str, found.features))
    Console().print(table, "")
    return vain


def main() -> None:
    """Run the cycles and print the tables; exit 1 if an outcome differs, or an option is idle."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", nargs=5)
    args = parser.parse_args()
    if args.child:
        _child(*args.child)
        return
    rng = random.Random(args.seed)
    table = Table("cycle", "logs", "deaths", "died", "outcome", box=None)
    wrong = died_in_all = redrawn = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = cases(folder) + (trivago_cases(folder) if trivago.THERE else [])
        expected = {case.name: straight(case, folder / f"straight-{case.name}") for case in runs}
        vain = show_options(runs, expected, folder)
        for cycle in range(args.cycles):
            case, died = runs[cycle % len(runs)], 0
            while not died:
                deaths, out = random_deaths(rng), folder / f"cycle-{cycle}-{redrawn}"
                found, died = resumed_after_kills(case, out, deaths)
                redrawn += not died  # it was done before any of its deaths was due
            differing = [
                part for part, value in expected[case.name].items() if found[part] != value
            ]
            wrong += bool(differing)
            died_in_all += died
            words = "identical" if not differing else "DIFFERS: " + ", ".join(differing)
            table.add_row(str(cycle + 1), case.name, " ".join(deaths), str(died), words)
    Console().print(table)
    if not trivago.THERE:
        print(f"without cycles on real logs: {needs.REAL_LOGS}")
    print(
        f"{args.cycles} cycles, each killed at least once, {died_in_all} deaths ({redrawn} cycles "
        f"drawn again because nothing died), {wrong} outcomes differ, {vain} options without effect"
    )
    sys.exit(bool(wrong or vain))


if __name__ == "__main__":
    main()
