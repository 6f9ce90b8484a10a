"""`clickloop bench join`: the joiner alone, Arrow in and Arrow out, and from NDJSON beside Flink.

Two joiners, one of which moves most of its rows to files, take the same steps in turn on one core:
first until impressions leave and are forgotten as fast as they come, then for the rounds that are
measured. From NDJSON each program is a process of its own on one core, and its rate is the slope
between two lengths, so that start-up cancels.
"""

import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from deploy.bench.figures import Figure, circumstances, figure, one_core
from deploy.bench.join_workload import CLICK_SHARE, JOIN, SCHEMA, Traffic, write_ndjson
from deploy.console import err
from joiner import Joiner, SamplingSettings
from streams.errors import ClickloopError, ConfigError
from streams.events import SOURCES
from streams.merge import Merge
from streams.position import ReadCursor
from streams.record import RecordType, RowChunk
from streams.spill import FileSpill

SEED = 1
PART = 65_536  # impressions that are read at once
SPILLED = 0.75  # of the rows
TARGET_EVENTS = 4_000_000
TARGET_BYTES = 48
TARGET_FLINK = 4.0


def run(open_: int, rounds: int, events: int, flink: Path | None) -> dict[str, Any]:
    """Measure; the document `bench` prints.

    open_: impressions that are open at a time. rounds: of so many impressions. events: of the
    longer pair of NDJSON files, 0 for none. flink: a virtual environment with apache-flink.

    Raises ConfigError if that has no Python.
    """
    if flink is not None and not _python(flink).exists():
        raise ConfigError(
            f"{flink}: there is no bin/python here; name a virtual environment in which "
            "apache-flink is installed"
        )
    with tempfile.TemporaryDirectory(prefix="clickloop-bench-") as name, one_core():
        folder = Path(name)
        joined = _Joined(open_, rounds, folder)
        figures = joined.figures()
        if events:
            figures += _from_ndjson(folder, open_, events, flink)
    return {
        **circumstances("join"),
        "seed": SEED,
        "sizes": {
            "open": joined.open,
            "known": joined.known,
            "rounds": rounds,
            "click_share": CLICK_SHARE,
            "row_bytes": round(joined.row_bytes),
            "spilled_share": joined.spilled_share,
            "ndjson_events": events,
        },
        "figures": figures,
        "notes": [
            "bytes_per_open_impression: ring, index and waiting clicks over the impressions that "
            "are open, none remembered yet",
            f"bytes_per_known_impression: the same over the {joined.known:,} that are known later: "
            f"{joined.open:,} open, the others decided and remembered (dedupe_horizon = window)",
            "bytes_with_remembered_per_open: that sum over the open ones alone",
        ],
    }


class Stream:
    """Traffic, merged, through joiners that take the same steps in turn."""

    def __init__(self, traffic: Traffic, joiners: tuple[Joiner, ...]) -> None:
        """joiners: nothing read yet."""
        self._traffic, self._joiners = traffic, joiners
        self._merge = Merge(
            (RecordType("impressions", SCHEMA), RecordType("clicks", SCHEMA)),
            (ReadCursor(), ReadCursor()),
        )

    def rates(self, start: int, stop: int) -> tuple[float, ...]:
        """Join the impressions of these numbers and the clicks meanwhile. Events a second: of
        merging and joining by the first, then of each joiner alone."""
        events, merging = 0, 0.0
        joining = [0.0] * len(self._joiners)
        for first in range(start, stop, PART):
            part = self._traffic.part(first, min(first + PART, stop))
            events += part.events
            began = time.perf_counter()
            for source in SOURCES:
                self._merge.push(source, RowChunk(part[source], ()))
            steps = list(iter(self._merge.take, None))
            merging += time.perf_counter() - began
            for which, joiner in enumerate(self._joiners):
                began = time.perf_counter()
                for step in steps:
                    clocks = step.impression_clock, step.click_clock
                    joiner.process(step.impressions, step.clicks, step.order, clocks)
                joining[which] += time.perf_counter() - began
        return events / (merging + joining[0]), *(events / seconds for seconds in joining)


class _Joined:
    """Rates and sizes of the two joiners, measured as it is made."""

    def __init__(self, open_: int, rounds: int, folder: Path) -> None:
        settled = 3 * open_  # more than W, D and L together
        gap = (JOIN.window + JOIN.lateness) / open_
        traffic = Traffic(settled + rounds * open_, gap, SEED)
        sample = traffic.part(0, PART).impressions
        budget = int((1 - SPILLED) * open_ * sample.nbytes / sample.num_rows)
        plain, spilled = (
            Joiner(SCHEMA, JOIN, SamplingSettings(), spill)
            for spill in (None, FileSpill(budget, folder))
        )
        stream = Stream(traffic, (plain, spilled))
        err.print("in memory: filling")
        stream.rates(0, open_)
        self._first_bytes = plain.bytes / plain.known_impressions
        stream.rates(open_, settled)
        rates = []
        for number in range(rounds):
            err.print(f"in memory: round {number + 1} of {rounds}")
            rates.append(stream.rates(settled + number * open_, settled + (number + 1) * open_))
        self._merged, self._plain, self._spilled = zip(*rates, strict=True)
        self.open, self.known = plain.open_impressions, plain.known_impressions
        self.row_bytes = plain.row_bytes / plain.open_impressions
        self.spilled_share = spilled.spilled_bytes / plain.row_bytes
        self._bytes = plain.bytes

    def figures(self) -> list[Figure]:
        """As `bench` prints them."""
        share = statistics.median(a / b for a, b in zip(self._spilled, self._plain, strict=True))
        rate, merged = statistics.median(self._plain), statistics.median(self._merged)
        first, known, open_ = self._first_bytes, self._bytes / self.known, self._bytes / self.open
        return [
            figure("events_per_s", rate, "1/s", TARGET_EVENTS),
            figure("events_per_s_with_merge", merged, "1/s", None),
            figure("bytes_per_open_impression", first, "B", TARGET_BYTES, at_most=True),
            figure("bytes_per_known_impression", known, "B", None),
            figure("bytes_with_remembered_per_open", open_, "B", None),
            figure("spilled_speed_ratio", share, "", None),
        ]


def _from_ndjson(folder: Path, open_: int, events: int, flink: Path | None) -> list[Figure]:
    """Our rate over NDJSON files, and its ratio to Flink's."""
    err.print("from NDJSON: writing the files")
    gap = (JOIN.window + JOIN.lateness) / open_
    long = math.ceil(events / (1 + CLICK_SHARE))
    traffic = Traffic(long, gap, SEED)
    sizes = {
        name: write_ndjson(folder / name, traffic, impressions)
        for name, impressions in (("short", long // 4), ("long", long))
    }
    span = sizes["long"] - sizes["short"]
    err.print("from NDJSON: ours")
    ours = [sys.executable, "-m", "deploy.bench.ndjson_join"]
    _seconds([*ours, str(folder / "short")])  # compiles
    rate = _slope(ours, folder, span)
    figures = [figure("ndjson_events_per_s", rate, "1/s", None)]
    if flink is not None:
        err.print("from NDJSON: Flink's")
        script = Path(__file__).with_name("flink_join.py")
        theirs = [str(_python(flink)), str(script), str(JOIN.window), str(JOIN.lateness)]
        other = _slope(theirs, folder, span)
        figures.append(figure("flink_events_per_s", other, "1/s", None))
        figures.append(figure("ratio_flink", rate / other, "", TARGET_FLINK))
    return figures


def _slope(command: list[str], folder: Path, events: int) -> float:
    """Events a second between the two pairs of files, which differ by `events`."""
    short, long = (_seconds([*command, str(folder / name)]) for name in ("short", "long"))
    return events / (long - short)


def _seconds(command: list[str]) -> float:
    """How long a program runs, on the one core this process keeps to."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClickloopError(
            f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return time.perf_counter() - start


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"
