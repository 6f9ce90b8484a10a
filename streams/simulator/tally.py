"""Counts of everything that a simulation puts into its logs."""

from collections import Counter
from typing import Any

import numpy as np

from streams.deadletter import Source
from streams.simulator import malformed
from streams.simulator.reproducible import log
from streams.simulator.settings import SimulatorSettings
from streams.simulator.traffic import DUPLICATE, ORIGINAL, ORPHAN, Rows, TrafficChunk


class Tally:
    """Adds up the chunks of a simulation, in their order.

    parquet: whether the logs are Parquet, which has its own kinds of malformed rows.
    """

    def __init__(self, settings: SimulatorSettings, parquet: bool) -> None:
        self._settings = settings
        self._kinds = {name: malformed.names(name, parquet) for name in malformed.LOGS}
        self._malformed = {name: dict.fromkeys(self._kinds[name], 0) for name in malformed.LOGS}
        self._rows: Counter[str] = Counter()
        self._impressions: Counter[str] = Counter()
        self._clicks = {name: Counter[str]() for name in settings.click_types}
        self._sums = np.zeros(3)  # of true p, of clicks, of log loss

    def add(self, chunk: TrafficChunk) -> None:
        """Count a chunk."""
        self._add_log("impressions", chunk.impressions)
        self._add_log("clicks", chunk.clicks)
        self._impressions.update(_roles(chunk.impressions))
        truth, s = chunk.truth, self._settings
        after = {"click": 0, "long_click": s.dwell}
        happened = {"click": truth["clicked"], "long_click": truth["long_clicked"]}
        for kind, (name, counts) in enumerate(self._clicks.items()):
            clicks = chunk.clicks[chunk.clicks["type"] == kind]
            counts.update(_roles(clicks))
            late = happened[name] & (truth["delay"] + after[name] > s.window)
            counts["orphans"] += int(np.count_nonzero(clicks["role"] == ORPHAN))
            counts["beyond_window"] += int(np.count_nonzero(late))
        p, clicked = truth["true_p"], truth["clicked"]
        terms = np.stack([p, clicked, -log(np.where(clicked, p, 1.0 - p))])
        # Added one after the other, so that the sums do not depend on the chunks.
        self._sums = np.cumsum(np.concatenate([self._sums[:, None], terms], axis=1), axis=1)[:, -1]

    def _add_log(self, name: Source, rows: Rows) -> None:
        self._rows[name] += len(rows)
        kinds = malformed.kinds(rows, len(self._kinds[name]))
        for kind in kinds[kinds >= 0].tolist():
            self._malformed[name][self._kinds[name][kind]] += 1

    def document(self) -> dict[str, Any]:
        """The counts.

        `impressions` and each click type: `true` events, and of these `delayed` (out of order)
        and `skewed` (stamped by a wrong clock); `duplicates`; of clicks also `orphans` and
        true ones `beyond_window`. `malformed` by kind, `rows` in all. `truth`: the share of
        impressions ever clicked, the mean true probability, and the log loss and normalized
        entropy that the true probabilities themselves reach.
        """
        probability, ctr, loss = (self._sums / self._settings.impressions).tolist()
        # Without a click, or without a miss, there is no entropy to compare with.
        entropy = _entropy(ctr) if 0.0 < ctr < 1.0 else None
        return {
            "impressions": self._log("impressions") | dict(self._impressions),
            "clicks": self._log("clicks") | {name: dict(c) for name, c in self._clicks.items()},
            "truth": {
                "ctr": ctr,
                "mean_true_p": probability,
                "log_loss": loss,
                "normalized_entropy": loss / entropy if entropy else None,
            },
        }

    def _log(self, name: Source) -> dict[str, Any]:
        return {"rows": self._rows[name], "malformed": self._malformed[name]}


def _roles(rows: Rows) -> dict[str, int]:
    """How many rows have each role, and how many events were delayed or skewed."""
    original = rows["role"] == ORIGINAL
    counts = {
        "true": original,
        "delayed": original & rows["delayed"],
        "skewed": original & rows["skewed"],
        "duplicates": rows["role"] == DUPLICATE,
    }
    return {name: int(np.count_nonzero(chosen)) for name, chosen in counts.items()}


def _entropy(p: float) -> float:
    """The entropy of a coin that shows heads with probability p, in nats."""
    heads, tails = (-log(np.array([p, 1.0 - p]))).tolist()
    return float(p * heads + (1.0 - p) * tails)
