"""What late labels, 16-bit state and subsampling cost in quality: `python -m tests.system.quality`.

Three tables, each figure with what is asked of it; the exit code is 1 if one does not hold. The
first two are of the real logs, where CLICKLOOP_TEST_DATA has them, the third of simulated traffic.
"""

import hashlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from deploy import settings
from deploy.replay.replay import EXAMPLES, replay
from deploy.simulation import simulate, truth_comparison
from ftrl.table.layout import FIXED
from streams.compute.arrays import F64, Bool
from tests.support import needs, trivago
from tests.support.trivago import changed

HOUR = 3_600_000
UNLIMITED = 48 * HOUR  # the longest delay in trivago's log is 25.4 hours
WINDOW, HORIZON = 60_000, 2 * HOUR
WARM_UP = 0.2  # of the log, in which the model learns the basics, not judged
PINNED = ("impressions=2000000", "seed=1", "ctr=0.1")
TRUTH = "56326ca2c5a94b078c4767d799b36df82a0c2f0576d964a4ebe1a91969172095"  # of these


@dataclass(frozen=True)
class Figure:
    """A line of a table. asked: in words; holds: None where nothing is asked."""

    name: str
    value: str
    asked: str = ""
    holds: bool | None = None


class Judged(NamedTuple):
    """Progressive predictions against the labels that an unlimited window gives."""

    entropy: float
    calibration: float


def labels(run: Path) -> Bool:
    """Of each line of trivago's log, from 1: whether it is a positive in `run`."""
    table = pq.read_table(run / EXAMPLES, columns=["src_row", "label"])
    clicked = np.zeros(trivago.ROWS + 1, np.bool_)
    clicked[table["src_row"].to_numpy()[table["label"].to_numpy() == 1]] = True
    return clicked


def judge(run: Path, clicked: Bool) -> Judged:
    """Normalized entropy and calibration of `run` after the warm-up; clicked: from `labels`.

    Every impression counts once, at the prediction first made for it. A kept negative stands for
    1/r of them, but for itself alone if it is corrected later: those are all there, since one that
    was sampled out is predicted at its correction.
    """
    names = ["src_row", "p", "kind", "kept", "keep_rate"]
    table = pq.read_table(run / EXAMPLES, columns=names)
    row, p, kind, kept, rate = (table[name].to_numpy() for name in names)
    corrected = np.isin(row, row[kind == 1])
    used = (row > WARM_UP * trivago.ROWS) & ((kind == 0) | ~kept)
    weight: F64 = np.where(corrected, 1.0, 1.0 / rate)[used]
    p, y = p[used], clicked[row[used]]
    share = float(np.average(y, weights=weight))
    loss = -np.average(np.where(y, np.log(p), np.log1p(-p)), weights=weight)
    entropy = -share * np.log(share) - (1 - share) * np.log1p(-share)
    return Judged(float(loss / entropy), float(np.average(p, weights=weight)) / share)


def corrections(folder: Path) -> list[Figure]:
    """Trivago's log with a window that three in ten clicks miss, against one that none misses."""
    plain = settings.load(trivago.example("trivago.toml"))

    def run(name: str, window: int, horizon: int, rate: float) -> Path:
        values = changed(
            plain,
            join__window=window,
            join__correction_horizon=horizon,
            sampling__keep_rate=rate,
        )
        replay(values, str(trivago.IMPRESSIONS), str(trivago.CLICKS), folder / name)
        return folder / name

    whole = run("unlimited", UNLIMITED, 0, 1.0)
    clicked = labels(whole)
    best = judge(whole, clicked)
    figures = [
        _calibration("unlimited window", best.calibration),
        Figure("unlimited window, NE", f"{best.entropy:.4f}"),
    ]
    for horizon, rate in ((HORIZON, 1.0), (HORIZON, 0.1), (0, 1.0), (0, 0.1)):
        found = judge(run(f"{horizon}-{rate}", WINDOW, horizon, rate), clicked)
        name = f"60 s, {'corrections' if horizon else 'no corrections'}, r = {rate:g}"
        figures += [
            _calibration(name, found.calibration, 0.02 if horizon else None),
            _entropy(name, found.entropy, best.entropy, 0.005 if horizon and rate == 1 else None),
        ]
    return figures


def fixed_point(folder: Path) -> list[Figure]:
    """Training in 8 bytes a slot against float32, on trivago's log, plain and with crosses."""
    figures = []
    for name in ("trivago", "trivago-crosses"):
        plain = settings.load(trivago.example(f"{name}.toml"))
        documents = {}
        for layout in ("float32", FIXED):
            values = changed(plain, learner__layout=layout)
            impressions, clicks = str(trivago.IMPRESSIONS), str(trivago.CLICKS)
            documents[layout] = replay(values, impressions, clicks, folder / name / layout)
        floats, rounded = (document["metrics"] for document in documents.values())
        model = documents[FIXED]["model"]
        entropy = floats["normalized_entropy"]
        figures += [
            Figure(f"{name}, float32, NE", f"{entropy:.5f}"),
            _entropy(f"{name}, {FIXED}", rounded["normalized_entropy"], entropy, 0.0002),
            _calibration(f"{name}, {FIXED}", rounded["calibration"], 0.01),
            *(
                Figure(f"{name}, {what}", f"{model[key]}", "none", model[key] == 0)
                for key, what in (("saturated", "values out of range"), ("refused", "refused"))
            ),
            Figure(f"{name}, mean rounding of a weight", f"{model['rounding']:.2e}"),
            Figure(f"{name}, collision rate", f"{model['collision_rate']:.2e}"),
        ]
    return figures


def truth_digest(truth: Path) -> str:
    """Of every true probability and click of a simulation: the same on every machine."""
    total = hashlib.sha256()
    with pq.ParquetFile(truth) as file:
        for batch in file.iter_batches(columns=["true_p", "clicked"]):
            total.update(batch.column(0).to_numpy().astype("<f8").tobytes())
            total.update(batch.column(1).to_numpy(zero_copy_only=False).tobytes())
    return total.hexdigest()


def planted_truth(folder: Path) -> list[Figure]:
    """Simulated traffic: predictions against the probabilities that clicks were drawn with."""
    made = simulate.run(simulate.parse_assignments(PINNED), folder / "logs")
    digest = truth_digest(made.truth)
    figures = [Figure("digest of the true p", digest[:16], TRUTH[:16], digest == TRUTH)]
    for rate, most in ((1.0, 0.01), (0.1, 0.02)):
        out = folder / f"r-{rate}"
        values = changed(settings.load(made.config), sampling__keep_rate=rate)
        replay(values, str(made.impressions), str(made.clicks), out)
        found = truth_comparison.compare(out, made.truth)
        calibration = found["last_three_quarters"]["calibration"]
        errors = [eighth["mean_abs_error"] for eighth in found["eighths"]]
        slope = float(np.polyfit(range(len(errors)), errors, 1)[0])
        figures += [
            _calibration(f"r = {rate:g}, last three quarters", calibration, most),
            Figure(
                f"r = {rate:g}, mean |p − true p| by eighths",
                " ".join(f"{error:.4f}" for error in errors),
                "trend falls",
                slope < 0 and errors[-1] < errors[0],
            ),
            Figure(
                f"r = {rate:g}, NE (the truth's own)",
                f"{found['normalized_entropy']:.4f} ({found['oracle_normalized_entropy']:.4f})",
            ),
        ]
    return figures


TABLES = {
    "Late labels: trivago, plain features, judged on all clicks, last 80%": (corrections, True),
    "8 bytes a slot: trivago, plain and crosses": (fixed_point, True),
    "Planted truth: 2,000,000 simulated impressions, seed 1, ctr 0.1": (planted_truth, False),
}


def _calibration(name: str, value: float, most: float | None = None) -> Figure:
    return _figure(f"{name}, calibration", f"{value:.4f}", value - 1, most)


def _entropy(name: str, value: float, best: float, most: float | None) -> Figure:
    by = value / best - 1
    return _figure(f"{name}, NE", f"{value:.5f} ({by:+.4%})", by, most)


def _figure(name: str, value: str, by: float, most: float | None) -> Figure:
    """`by` is how far the value is off, `most` how far it may be."""
    if most is None:
        return Figure(name, value)
    return Figure(name, value, f"within {most:.2%}", abs(by) <= most)


def main() -> None:
    """Print the tables; exit 1 if a figure does not hold."""
    holds = True
    for title, (measure, needs_real_logs) in TABLES.items():
        if needs_real_logs and not trivago.THERE:
            print(f"{title}: left out: {needs.REAL_LOGS}\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder))
        table = Table("figure", "value", "asked", "holds", title=title, title_justify="left")
        for figure in figures:
            words = {None: "", True: "yes", False: "NO"}[figure.holds]
            table.add_row(figure.name, figure.value, figure.asked, words)
        Console(width=130).print(table)
        holds &= all(figure.holds is not False for figure in figures)
    print("all figures hold" if holds else "a figure does not hold")
    sys.exit(not holds)


if __name__ == "__main__":
    main()
