"""Generate traffic chunk by chunk, and write the logs, their truth and their settings."""

import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.duration import readable
from streams.schema import EventSchema
from streams.simulator.arrivals import Arrivals, RowBatcher
from streams.simulator.log_writers import LogFile, LogFormat, click_log, impression_log, truth_file
from streams.simulator.settings import SimulatorSettings
from streams.simulator.tally import Tally
from streams.simulator.traffic import Rows, Traffic
from streams.simulator.truth import CROSSES
from streams.simulator.world import World

CHUNK = 65_536
_VERSION = 1  # of simulation.json
_KINDS = {
    "string": 'kind = "categorical"',
    "int": 'kind = "categorical"\ndtype = "int"',
    "float": 'kind = "number"',
    "bool": 'kind = "boolean"',
    "list": 'kind = "list"',
}


@dataclass(frozen=True, slots=True)
class Simulation:
    """What `simulate` has written.

    impressions, clicks, truth, config, summary: the files. schema: the logs' records.
    document: the content of the summary, `simulation.json`.
    """

    impressions: Path
    clicks: Path
    truth: Path
    config: Path
    summary: Path
    schema: EventSchema
    document: dict[str, Any]


def simulate(
    settings: SimulatorSettings,
    folder: Path,
    format: LogFormat = "parquet",
    progress: Callable[[int], None] | None = None,
    *,
    chunk: int = CHUNK,
) -> Simulation:
    """Write the simulated logs into `folder`, which is made if missing.

    Beside the logs: `truth.parquet` (each impression's true probability and clicks, in the
    order shown), `clickloop.toml` (settings of a replay that fits) and, last,
    `simulation.json` (these settings, and the counts of `Tally.document`). `progress` is
    called with the number of impressions done so far. `chunk`: impressions made at a time;
    the files do not depend on it. Raises OSError when a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    traffic = Traffic(settings)
    made = Simulation(
        impressions=folder / f"impressions.{format}",
        clicks=folder / f"clicks.{format}",
        truth=folder / "truth.parquet",
        config=folder / "clickloop.toml",
        summary=folder / "simulation.json",
        schema=traffic.world.event_schema(),
        document={
            "version": _VERSION,
            "settings": settings.model_dump(mode="json"),
            "format": format,
            "delay_shape": traffic.delays.shape,
        },
    )
    tally = Tally(settings, parquet=format == "parquet")
    with ExitStack() as stack:
        outputs = [
            _Output(stack.enter_context(closing(file)), arrivals)
            for file, arrivals in (
                (impression_log(made.impressions, traffic.world), Arrivals()),
                (click_log(made.clicks, traffic.world), Arrivals()),
                (truth_file(made.truth, traffic.world), None),
            )
        ]
        for begin in range(0, settings.impressions, chunk):
            end = min(begin + chunk, settings.impressions)
            part = traffic.chunk(begin, end)
            tally.add(part)
            parts = (part.impressions, part.clicks, part.truth)
            for output, rows in zip(outputs, parts, strict=True):
                output.write(rows, part.frontier)
            if progress:
                progress(end)
        for output in outputs:
            output.finish()
    made.config.write_text(replay_settings(traffic.world), encoding="utf-8")
    made.document.update(tally.document())
    made.summary.write_text(json.dumps(made.document, indent=2) + "\n", encoding="utf-8")
    return made


class _Output:
    """Rows on their way to a file: put in order, if they need it, and cut into even batches."""

    def __init__(self, file: LogFile, arrivals: Arrivals | None) -> None:
        self._file = file
        self._arrivals = arrivals
        self._batcher = RowBatcher()

    def write(self, rows: Rows, frontier: int) -> None:
        """Take a chunk's rows; see `TrafficChunk.frontier`."""
        if self._arrivals:
            rows = self._arrivals.push(rows, frontier)
        for batch in self._batcher.push(rows):
            self._file.write(batch)

    def finish(self) -> None:
        """Write what is left."""
        for rows in self._arrivals.finish() if self._arrivals else ():
            for batch in self._batcher.push(rows):
                self._file.write(batch)
        for batch in self._batcher.finish():
            self._file.write(batch)


def replay_settings(world: World) -> str:
    """The TOML of a replay that can represent the truth and corrects every late click."""
    s = world.settings
    last = s.longest_delay + (s.dwell if s.long_click_share else 0)
    lines = [
        "# Settings of a replay of the simulated logs beside this file.",
        "[join]",
        f'window = "{readable(s.window)}"',
        f'lateness = "{readable(s.lateness)}"',
        f'correction_horizon = "{readable(last - s.window)}"',
        f"click_types = {json.dumps(s.click_types)}",
        "",
        "# Every value there is has an effect, so nothing is gained by a penalty that zeroes some.",
        "[learner]",
        "alpha = 0.2",
        "l1 = 0.0",
        "",
        "[features]",
        f"crosses = {json.dumps(CROSSES)}",
    ]
    for column in world.columns():
        lines += ["", f"[features.fields.{column.name}]", _KINDS[column.type]]
    if s.positions:
        lines += ["", "[features.fields.position]", 'kind = "position"', "serve_as = 0"]
    return "\n".join(lines) + "\n"
