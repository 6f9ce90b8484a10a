"""Predictions beside the truth, which only simulated traffic lets one know.

    RUN/examples/*.parquet ─┐ by
                            ├─ id ─▶ sums ─▶ `truth` in RUN/metrics.json ─▶ report
    truth.parquet ──────────┘

First labels are compared, at their progressive prediction. A kept negative counts 1/r times
(`keep_rate`), so the figures are those of all impressions however few negatives were kept.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deploy.replay import run_metrics
from deploy.replay.replay import EXAMPLES
from deploy.report.report import read_metrics, write_report
from deploy.simulation.truth_reader import BATCH, TruthReader, open_parquet
from streams.compute.arrays import F64, I64, Bool
from streams.errors import DataError

EIGHTHS = 8
RANGE, BINS, FINE = 16, 2, 32  # logits from -RANGE; bins a unit of logit: predicted, true

_EXAMPLE = ("impression_id", "ts", "p", "kind", "keep_rate")

# Sums over the examples of an eighth; w weight, y whether ever clicked.
COUNT, WEIGHT, P, TRUE_P, DISTANCE, CLICKED, LOSS, TRUE_LOSS = range(8)


def add_truth(run_dir: Path, truth: Path) -> dict[str, Any]:
    """Compare a run with `truth`, and put that into its metrics.json and its report.

    Returns what was put. Raises DataError as `compare` does, or when there are no metrics.
    """
    document = read_metrics(run_dir)
    document["truth"] = compare(run_dir, truth)
    run_metrics.write(run_dir, document)
    write_report(run_dir)
    return dict(document["truth"])


def compare(run_dir: Path, truth: Path) -> dict[str, Any]:
    """What the run in `run_dir` predicted, against the probabilities in the file `truth`.

    Keys: `examples`; `p`, `true_p` (weighted means); `calibration` (p / true_p), the same over
    the `last_three_quarters` of the impressions; `mean_abs_error` (mean |p − true p|);
    `normalized_entropy` and `oracle_normalized_entropy`, of the predictions and of the truth
    itself, both judged by whether an impression was ever clicked; `eighths` of the log in
    the order shown, each with examples, p, true_p, calibration, mean_abs_error; `bins` of
    similar prediction, each with examples, p, true_p, and `true_p_range`, which holds the
    middle 80% of the true probabilities. None stands for what no example defines.

    Raises DataError when a file is missing or unreadable, or an example is not in `truth`.
    """
    reader = TruthReader(truth)
    sums, cells = np.zeros((EIGHTHS, 8)), _Cells()
    for batch in _first_labels(run_dir / EXAMPLES):
        p: F64 = batch.column("p").to_numpy()
        weight = 1.0 / batch.column("keep_rate").to_numpy()
        ids, ts = batch.column("impression_id"), batch.column("ts").to_numpy()
        row, true_p, clicked = reader.find(ids, ts)
        columns = (
            np.ones(len(p)),
            weight,
            weight * p,
            weight * true_p,
            weight * np.abs(p - true_p),
            weight * clicked,
            weight * _loss(p, clicked),
            weight * _loss(true_p, clicked),
        )
        eighth = row * EIGHTHS // reader.rows
        sums += np.stack([np.bincount(eighth, c, EIGHTHS) for c in columns], axis=1)
        cells.add(p, true_p, weight)
    total = sums.sum(axis=0)
    return {
        **_group(total),
        "last_three_quarters": _group(sums[EIGHTHS // 4 :].sum(axis=0)),
        "normalized_entropy": _normalized_entropy(total, LOSS),
        "oracle_normalized_entropy": _normalized_entropy(total, TRUE_LOSS),
        "eighths": [_group(eighth) for eighth in sums],
        "bins": cells.bins(),
    }


class _Cells:
    """Weights of examples by predicted and by true logit."""

    def __init__(self) -> None:
        self._shape = 2 * RANGE * BINS, 2 * RANGE * FINE
        self._weight = np.zeros(self._shape)
        self._sums = np.zeros((self._shape[0], 3))  # examples, weighted p, weighted true p

    def add(self, p: F64, true_p: F64, weight: F64) -> None:
        """Count examples."""
        row, column = _bin(p, BINS), _bin(true_p, FINE)
        cell = row * self._shape[1] + column
        self._weight += np.bincount(cell, weight, self._weight.size).reshape(self._shape)
        sums = (np.ones(len(p)), weight * p, weight * true_p)
        self._sums += np.stack([np.bincount(row, c, self._shape[0]) for c in sums], axis=1)

    def bins(self) -> list[dict[str, Any]]:
        """Those that hold examples, by ascending prediction."""
        bins = []
        for weights, (count, p, true_p) in zip(self._weight, self._sums, strict=True):
            if count:
                upto = np.cumsum(weights)
                ends = np.searchsorted(upto, [0.1 * upto[-1], 0.9 * upto[-1]])
                logits = (ends + 0.5) / FINE - RANGE
                bins.append(
                    {
                        "examples": int(count),
                        "p": p / upto[-1],
                        "true_p": true_p / upto[-1],
                        "true_p_range": (1.0 / (1.0 + np.exp(-logits))).tolist(),
                    }
                )
        return bins


def _bin(p: F64, bins: int) -> I64:
    """The bin of each probability's logit; what lies beyond RANGE is in the outer ones."""
    with np.errstate(divide="ignore"):
        logit = np.log(p) - np.log1p(-p)
    place: I64 = np.clip((logit + RANGE) * bins, 0, 2 * RANGE * bins - 1).astype(np.int64)
    return place


def _first_labels(folder: Path) -> Iterator[pa.RecordBatch]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no examples here; name the folder a `clickloop replay` wrote")
    for path in sorted(folder.glob("*.parquet")):
        for batch in open_parquet(path, _EXAMPLE).iter_batches(BATCH, columns=_EXAMPLE):
            yield batch.filter(pc.equal(batch.column("kind"), 0))


def _loss(p: F64, clicked: Bool) -> F64:
    """Log loss of each prediction, nats; finite even where p is 0 or 1."""
    return -np.log(np.maximum(np.where(clicked, p, 1.0 - p), np.finfo(np.float64).tiny))


def _group(sums: F64) -> dict[str, Any]:
    weight, p, true_p = sums[WEIGHT], sums[P], sums[TRUE_P]
    return {
        "examples": int(sums[COUNT]),
        "p": _ratio(p, weight),
        "true_p": _ratio(true_p, weight),
        "calibration": _ratio(p, true_p),
        "mean_abs_error": _ratio(sums[DISTANCE], weight),
    }


def _normalized_entropy(sums: F64, loss: int) -> float | None:
    """Log loss over the entropy of the share that was ever clicked."""
    share = sums[CLICKED] / max(sums[WEIGHT], 1.0)
    entropy = -float(share * np.log(share) + (1 - share) * np.log1p(-share)) if 0 < share < 1 else 0
    return _ratio(sums[loss], sums[WEIGHT] * entropy)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None
