"""The main job on the Open Bandit logs: join, learn, publish, score, report."""

import shutil
import tomllib
from importlib.resources import files
from pathlib import Path

from deploy import open_bandit, settings
from deploy.console import out, progress, run_summary
from deploy.replay import STORE, replay
from deploy.scorer import score_file
from streams.errors import ConfigError

_MARK = ".clickloop-demo"
NOTES = (
    open_bandit.DELAYS,
    "287 clicks are few: a normalized entropy whose interval reaches 1 is what they allow.",
)


def run(data: Path, folder: Path) -> None:
    """Run the demo with the wheel in `data`, into `folder`, and print what came out.

    `folder` is made anew; only one that an earlier demo made is replaced.
    Raises ConfigError when it holds something else, DataError when the wheel is missing.
    """
    _make_anew(folder)
    out.print("[bold]clickloop demo[/bold]: the Open Bandit logs (ZOZOTOWN, November 2019)")
    logs = open_bandit.write_logs(data / open_bandit.WHEEL, folder / "logs")
    config = files("deploy").joinpath("open_bandit.toml").read_text(encoding="utf-8")
    loaded = settings.parse(tomllib.loads(config), "open_bandit.toml")
    run_folder = folder / "run"
    with progress("join and learn") as bar:
        document = replay(
            loaded,
            str(logs.impressions),
            str(logs.clicks),
            run_folder,
            title="Open Bandit logs",
            notes=NOTES,
            progress=bar,
        )
    out.print(run_summary(document))
    for note in NOTES:
        out.print(f"note                {note}", soft_wrap=True)
    with progress("score") as bar:
        scored = score_file(
            run_folder / STORE, str(logs.impressions), folder / "scores.parquet", progress=bar
        )
    out.print(
        f"scored again        {scored.rows:,} impressions with serving version {scored.version}, "
        f"as if at position 1: mean p {scored.mean_p:.4%}"
    )
    out.print(f"[bold]report[/bold]              {run_folder / 'report.html'}", soft_wrap=True)


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
