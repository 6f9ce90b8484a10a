"""`clickloop simulate`: settings from the command line, logs, and a summary of them in words."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deploy.console import Rows, number, percent
from deploy.settings import listed, reason
from streams.errors import ConfigError
from streams.simulator import LogFormat, Simulation, SimulatorSettings, simulate

KNOWN = "docs/commands.md lists all of them"


def parse_assignments(assignments: Sequence[str]) -> SimulatorSettings:
    """The settings of a simulation from KEY=VALUE words; keys not named keep their defaults.

    Raises ConfigError that lists every problem.
    """
    values: dict[str, str] = {}
    problems = []
    for assignment in assignments:
        key, equals, value = (part.strip() for part in assignment.partition("="))
        if not equals:
            problems.append(f"{assignment}: write KEY=VALUE")
        elif key in values:
            problems.append(f"{key}: given twice")
        else:
            values[key] = value
    try:
        settings = SimulatorSettings.model_validate(values)
    except ValidationError as error:
        problems += [_problem(found) for found in error.errors()]
    if problems:
        raise ConfigError(listed("simulate", problems))
    return settings


def _problem(found: Any) -> str:
    """A problem in words; one that several keys cause names them itself."""
    if not found["loc"]:
        return reason(found, KNOWN)
    key = str(found["loc"][0])
    near = get_close_matches(key, SimulatorSettings.model_fields, n=1)
    return f"{key}: {reason(found, f'did you mean {near[0]}?' if near else KNOWN)}"


def run(
    settings: SimulatorSettings,
    folder: Path,
    format: LogFormat = "parquet",
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Write simulated logs into `folder`, a new or empty one; see `streams.simulator.simulate`.

    progress: called with impressions done, and in all. Raises ConfigError when `folder` is in
    use, OSError when a file cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: not an empty folder; name another, or remove what it holds")

    def report(done: int) -> None:
        if progress is not None:
            progress(done, settings.impressions)

    return simulate(settings, folder, format, report)


def to_json(made: Simulation) -> dict[str, Any]:
    """The content of simulation.json, and the files by what they hold."""
    files = {
        "impressions": made.impressions,
        "clicks": made.clicks,
        "truth": made.truth,
        "config": made.config,
        "summary": made.summary,
    }
    return {"files": {name: str(path) for name, path in files.items()}, **made.document}


def summary(made: Simulation) -> Rows:
    """What is in the logs, where they are, and what to do with them."""
    document = made.document
    impressions, clicks, truth = document["impressions"], document["clicks"], document["truth"]
    oracle = truth["normalized_entropy"]
    folder = made.summary.parent
    return [
        ("impressions", _events(impressions)),
        *(
            (name.replace("_", " ") + "s", _events(counts))
            for name, counts in clicks.items()
            if name not in ("rows", "malformed")
        ),
        (
            "malformed rows",
            " and ".join(
                f"{sum(counts['malformed'].values()):,} among the {what}"
                for what, counts in (("impressions", impressions), ("clicks", clicks))
            ),
        ),
        ("CTR", f"{percent(truth['ctr'])}, mean true probability {percent(truth['mean_true_p'])}"),
        ("normalized entropy", f"{number(oracle, 4)}  (of the true probabilities themselves)"),
        (
            "files",
            f"{folder}: "
            + ", ".join(
                f"{path.name} {_size(path)}" for path in (made.impressions, made.clicks, made.truth)
            ),
        ),
        (
            "replay them",
            f"clickloop replay --config {made.config} --impressions {made.impressions} "
            f"--clicks {made.clicks} --out RUN",
        ),
        ("compare", f"clickloop report --run RUN --truth {made.truth}"),
    ]


def _events(counts: Mapping[str, int]) -> str:
    faults = [
        f"{counts[key]:,} {words}"
        for key, words in (
            ("beyond_window", "after the window"),
            ("delayed", "out of order"),
            ("skewed", "by a wrong clock"),
            ("duplicates", "delivered twice"),
            ("orphans", "more without an impression"),
        )
        if counts.get(key)
    ]
    return f"{counts['true']:,}" + (": " if faults else "") + ", ".join(faults)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.1f} MB"
