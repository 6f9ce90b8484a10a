"""A made-up run's metrics, and the parts of the page about them."""

import json
import re
from functools import cache
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from ftrl.evaluation.evaluation import Evaluation

PAIRS = ("flow", "truth")  # panels of two figures
PANELS = ("flow", "time", "curve", "truth", "deciles", "delays", "features", "rejections")
HOUR = 3_600_000
EDGES = [0, *(1000 * 2**k for k in range(20))]  # ms; the last bin is open
Document = dict[str, Any]


def _document_of(examples: int) -> Document:
    """Metrics of a made-up run over two days; the predictions are 10% too high."""
    rng = np.random.default_rng(examples)
    logit = rng.normal(-3.0, 1.0, examples)
    label = (rng.random(examples) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    ts = np.sort(1_541_030_400_000 + (rng.random(examples) * 48 * HOUR).astype(np.int64))
    evaluation = Evaluation()
    evaluation.update(logit + 0.1, label, np.ones(examples), ts)
    clicks = int(label.sum())
    matched = rng.multinomial(clicks, np.full(len(EDGES), 1 / len(EDGES)))
    return {
        "clickloop": {"version": "0.1.0"},
        "run": {
            "title": "a made-up run",
            "impressions": "impressions.ndjson",
            "clicks": "clicks.ndjson",
            "config": {"join": {"window": 30 * 60_000}},
            "notes": ["Click delays are drawn."],
        },
        "ledger": {
            "impressions": examples + 12,
            "positives": clicks,
            "negatives": examples - clicks,
            "sampled_out": 0,
            "open": 0,
            "duplicate_impressions": 5,
            "rejected": 7,
            "clicks": clicks + 6,
            "matched_clicks": clicks,
            "waiting_clicks": 0,
            "duplicate_clicks": 1,
            "late_clicks": 2,
            "orphan_clicks": 3,
            "rejected_clicks": 0,
            "corrections": 0,
        },
        "metrics": evaluation.metrics(),
        "corrected": evaluation.metrics(),
        "deciles": evaluation.deciles(),
        "curve": evaluation.curve(),
        "buckets": evaluation.buckets(),
        "delays": {
            "window_ms": 30 * 60_000,
            "edges_ms": EDGES,
            "matched": matched.tolist(),
            "late": [0] * (len(EDGES) - 1) + [2],
        },
        "model": {
            "features_seen": 900,
            "features_admitted": 500,
            "nonzero_weights": 70,
            "bytes": 3 * 2**20,
            "refused": 0,
            "evicted": 1234,
            "saturated": 4,
            "filter_fill": 0.25,
            "false_positives": 0.012,
            "false_positives_in_theory": 0.011,
            "false_admissions": 0.0042,
        },
        "rejections": {"too_late": 4, "wrong_type": 3},
        "snapshots": [{"version": 1, "ts": 1_541_030_400_000, "nonzero": 70, "bytes": 900}],
        "throughput": {"impressions_per_s": 250_000.0, "seconds": 0.1},
        "truth": {
            "bins": [
                {"p": 0.011, "true_p": 0.01, "true_p_range": [0.005, 0.02], "examples": 9},
                {"p": 0.2, "true_p": 0.19},
            ],
            "mean_abs_error": 0.0123,
            "normalized_entropy": 0.88,
            "oracle_normalized_entropy": 0.82,
            "eighths": [
                {"examples": 9, "calibration": 1.1, "mean_abs_error": 0.02},
                {"examples": 0, "calibration": None, "mean_abs_error": None},
                {"examples": 9, "calibration": 1.0, "mean_abs_error": 0.01},
            ],
        },
    }


@cache
def usual() -> Document:
    """As of an ordinary run; to be changed only in a copy."""
    return _as_read(_document_of(20_000))


@cache
def sparse() -> Document:
    """As of a run with hardly any examples; to be changed only in a copy."""
    return _as_read(_document_of(30))


def _as_read(document: Document) -> Document:
    read: Document = json.loads(json.dumps(document, allow_nan=False))
    return read


def own(html: str) -> str:
    """The page without Plotly itself."""
    assert html.count(get_plotlyjs()) == 1
    return html.replace(get_plotlyjs(), "")


def sections(html: str) -> dict[str, str]:
    """The page's panels, by name."""
    return dict(re.findall(r"<section id=\"?(\w+)\"?>(.*?)</section>", html, re.DOTALL))
