"""The main job twice, without a broker: on the Open Bandit logs, and where the truth is known."""

import shutil
import tomllib
from importlib.resources import files
from pathlib import Path

from deploy import settings
from deploy.console import Rows, progress, show
from deploy.demo import open_bandit
from deploy.replay.replay import STORE, replay
from deploy.report.terminal import run_summary, truth_summary
from deploy.serving.score_file import score_file
from deploy.simulation import simulate
from deploy.simulation.truth_comparison import add_truth
from streams.errors import ConfigError
from streams.simulator import Simulation, SimulatorSettings

_MARK = ".clickloop-demo"
REAL_NOTES = (
    open_bandit.DELAYS,
    "287 clicks are few: a normalized entropy whose interval reaches 1 is what they allow.",
)
SIMULATED_NOTES = ("These impressions and clicks are simulated; no person has seen these ads.",)


def run(data: Path, folder: Path, impressions: int) -> None:
    """Run the demo with the wheel in `data`, into `folder`, and print what came out.

    `folder` is made anew; only one that an earlier demo made is replaced. impressions: how many
    are simulated. Raises ConfigError when `folder` holds something else, DataError when the
    wheel is missing.
    """
    _make_anew(folder)
    real = _real(data, folder)
    simulated = _simulated(folder / "simulated", impressions)
    show(
        ("Open Bandit: real impressions of a fashion shop (ZOZOTOWN, November 2019)", real),
        ("Simulated: the true probability of each click is known", simulated),
    )


def _real(data: Path, folder: Path) -> Rows:
    """Join, learn, publish and score the Open Bandit logs."""
    logs = open_bandit.write_logs(data / open_bandit.WHEEL, folder / "logs")
    config = files("deploy.demo").joinpath("open_bandit.toml").read_text(encoding="utf-8")
    parsed = settings.parse(tomllib.loads(config), "open_bandit.toml")
    run_folder = folder / "run"
    summary = _replay("Open Bandit logs", parsed, logs, run_folder, REAL_NOTES)
    with progress("Open Bandit logs: score") as bar:
        scored = score_file(
            run_folder / STORE, str(logs.impressions), folder / "scores.parquet", progress=bar
        )
    return [
        *summary,
        (
            "scored again",
            f"{scored.rows:,} impressions with serving version {scored.version}, as if at "
            f"position 1: mean p {scored.mean_p:.4%}",
        ),
        *(("note", note) for note in REAL_NOTES),
        ("report", str(run_folder / "report.html")),
    ]


def _simulated(folder: Path, impressions: int) -> Rows:
    """Simulate traffic, do the same with it, and compare with the truth."""
    with progress("Simulated traffic: make the logs") as bar:
        chosen = SimulatorSettings(impressions=impressions)
        made = simulate.run(chosen, folder / "logs", progress=bar)
    run_folder = folder / "run"
    loaded = settings.load(made.config)
    return [
        *_replay("Simulated traffic", loaded, made, run_folder, SIMULATED_NOTES),
        *truth_summary(add_truth(run_folder, made.truth)),
        ("report", str(run_folder / "report.html")),
    ]


def _replay(
    title: str,
    run_settings: settings.Settings,
    logs: open_bandit.LogPaths | Simulation,
    folder: Path,
    notes: tuple[str, ...],
) -> Rows:
    with progress(f"{title}: join and learn") as bar:
        document = replay(
            run_settings,
            str(logs.impressions),
            str(logs.clicks),
            folder,
            title=title,
            notes=notes,
            progress=bar,
        )
    return run_summary(document)


def _make_anew(folder: Path) -> None:
    mark = folder / _MARK
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise ConfigError(
            f"{folder}: holds files that no demo made; name another folder with --out"
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    mark.touch()
