"""kill -9 and resume, over and over: `python -m tests.faults [--cycles N]` prints the table.

A child process replays and dies: at a numbered step of saving a checkpoint, or at a random moment.
It is then resumed, perhaps to die again, until the run is done; the outcome must be that of a run
that was never killed, in everything but its throughput. The logs are small ones, simulated ones,
and parts of trivago's where CLICKLOOP_TEST_DATA has them.
"""

import argparse
import functools
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy import inputs, pages, settings
from deploy.examples import ExamplesWriter
from deploy.replay import replay
from deploy.store import Store
from streams.logs import open_log
from streams.simulator import SimulatorSettings, simulate
from streams.writer import NdjsonWriter
from tests import small_logs, trivago
from tests.outcomes import outcome

BLOCK_ROWS = 400
EVERY = 900

TRIVAGO_ROWS = 6000
TRIVAGO_STARTS = {"early": 0, "middle": 150_000, "late": 300_000}
# For docs/examples/trivago-crosses.toml: three in ten clicks come after this window.
TRIVAGO_JOIN = 'window = "60s"\ncorrection_horizon = "2h"'
TRIVAGO_SAMPLING = """
[sampling]
keep_rate = 0.3
[snapshots]
every = "30m"
"""

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


@dataclass(frozen=True)
class Case:
    """Logs and settings of a run."""

    name: str
    config: Path
    impressions: Path
    clicks: Path


def cases(folder: Path) -> list[Case]:
    """Corrections, subsampling and admission on, over small logs and simulated ones."""
    small = small_logs.write(folder / "small", settings=small_logs.FORGETFUL)
    simulated = simulate(
        SimulatorSettings(impressions=6000, users=500, ads=100, beyond_window=0.2, seed=5),
        folder / "simulated",
    )
    text = simulated.config.read_text()
    config = folder / "simulated" / "all-on.toml"
    config.write_text(text + '\n[sampling]\nkeep_rate = 0.3\n[admission]\nkind = "bloom"\n')
    return [
        Case("small", small.config, small.impressions, small.clicks),
        Case("simulated", config, simulated.impressions, simulated.clicks),
    ]


def trivago_cases(folder: Path, starts: Iterable[str] = TRIVAGO_STARTS) -> list[Case]:
    """The same over parts of the real logs that begin at different points."""
    text = trivago.example("trivago-crosses.toml").read_text()
    text = text.replace('window = "30m"', TRIVAGO_JOIN)
    text = text.replace('kind = "off"', 'kind = "bloom"\nadmit_after = 1\nrotate_every = 1500')
    found = []
    for start in starts:
        name = f"trivago-{start}"
        logs = trivago.write_part(folder / name, TRIVAGO_STARTS[start], TRIVAGO_ROWS)
        config = folder / name / "config.toml"
        config.write_text(text + TRIVAGO_SAMPLING)
        found.append(Case(name, config, *logs))
    return found


def resumed_after_kills(case: Case, out: Path, deaths: list[str]) -> tuple[dict[str, Any], int]:
    """The outcome of a run that dies as told, and how often it really died.

    deaths: `step:n` (before that step for the n-th time) or `after:seconds`.
    """
    died = 0
    for death in [*deaths, "never:0"]:
        child = [sys.executable, "-m", "tests.faults", "--child", str(case.config)]
        paths = [str(case.impressions), str(case.clicks), str(out), death]
        with subprocess.Popen(
            [*child, *paths], cwd=Path(__file__).parent.parent, stderr=subprocess.PIPE
        ) as process:
            kind, _, number = death.partition(":")
            if kind == "after":
                try:
                    process.wait(float(number))
                except subprocess.TimeoutExpired:
                    process.kill()
            _, errors = process.communicate()
        if process.returncode == -signal.SIGKILL:
            died += 1
        elif process.returncode:
            raise AssertionError(f"{death}: {errors.decode()}")
    return outcome(out), died


def straight(case: Case, out: Path) -> dict[str, Any]:
    """The outcome of a run that is never killed."""
    return resumed_after_kills(case, out, [])[0]


def random_deaths(rng: random.Random) -> list[str]:
    """One to three deaths, at steps or at moments."""
    kinds = [*STEPS, "after", "after"]
    deaths = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(kinds)
        number = round(rng.uniform(1.5, 4), 2) if kind == "after" else rng.randint(1, 4)
        deaths.append(f"{kind}:{number}")
    return deaths


def _child(config: str, impressions: str, clicks: str, out: str, death: str) -> None:
    step, _, number = death.partition(":")
    if step in STEPS:
        _die_at(step, int(number))
    setattr(inputs, "open_log", functools.partial(open_log, block_rows=BLOCK_ROWS))  # noqa: B010
    pages.PAGE_SLOTS = 64  # so that small tables have many pages
    setattr(pages.Kept, "busy", False)  # noqa: B010 - no save is put off, so all runs save alike
    values = settings.load(Path(config))
    saves = values.snapshots.model_copy(update={"checkpoint_every": EVERY})
    values = values.model_copy(update={"snapshots": saves})
    replay(values, impressions, clicks, Path(out), resume=True)


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


def main() -> None:
    """Run the cycles and print the table; exit 1 if any outcome differs."""
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
        print(f"without cycles on real logs: {trivago.MISSING}")
    print(
        f"{args.cycles} cycles, each killed at least once, {died_in_all} deaths ({redrawn} cycles "
        f"drawn again because nothing died), {wrong} outcomes differ"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
