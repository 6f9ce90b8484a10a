"""The document a run leaves: `metrics.json`."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deploy.replay.pipeline import Pipeline
from joiner import Ledger

FILE = "metrics.json"


def document(
    pipeline: Pipeline,
    rejections: Counter[str],
    snapshots: list[dict[str, Any]],
    run: Mapping[str, Any],
    *,
    seconds: float,
    compiling_s: float,
) -> dict[str, Any]:
    """Everything measured by `pipeline`, as plain JSON values.

    rejections: dead letters by reason. snapshots: published versions. run: what was run.
    seconds: wall time spent; compiling_s: how much of it compiling the kernels took.
    """
    ledger, running = pipeline.joiner.ledger, seconds - compiling_s
    metrics = pipeline.evaluation.metrics()
    corrected = metrics if pipeline.corrected is None else pipeline.corrected.evaluation.metrics()
    return {
        "clickloop": {"version": version("clickloop")},
        "run": dict(run),
        "ledger": ledger_counts(ledger),
        "ledger_by_type": {name or "undeclared": asdict(c) for name, c in ledger.clicks.items()},
        "breaker": asdict(pipeline.joiner.breaker),
        "metrics": metrics,
        "corrected": corrected,
        "deciles": pipeline.evaluation.deciles(),
        "curve": pipeline.evaluation.curve(),
        "buckets": pipeline.evaluation.buckets(),
        "delays": _delays(pipeline),
        "model": _model(pipeline),
        "rejections": dict(sorted(rejections.items())),
        "snapshots": snapshots,
        "throughput": {
            "impressions_per_s": ledger.impressions / running if running > 0 else None,
            "seconds": seconds,
            "compiling_s": compiling_s,
        },
    }


def ledger_counts(ledger: Ledger) -> dict[str, int]:
    """The ledger, flat, clicks of all types together."""
    clicks = ledger.all_clicks
    return {
        "impressions": ledger.impressions,
        "positives": ledger.positives,
        "negatives": ledger.negatives,
        "sampled_out": ledger.sampled_out,
        "open": ledger.open,
        "duplicate_impressions": ledger.duplicates,
        "rejected": ledger.rejected,
        "clicks": clicks.read,
        "matched_clicks": clicks.matched,
        "waiting_clicks": clicks.waiting,
        "duplicate_clicks": clicks.duplicates,
        "late_clicks": clicks.late,
        "orphan_clicks": clicks.orphans,
        "rejected_clicks": clicks.rejected,
        "corrections": ledger.corrections,
    }


def write(folder: Path, values: Mapping[str, Any]) -> Path:
    """Write `values` as `folder`/metrics.json, whole or not at all."""
    path = folder / FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return partial.rename(path)


def _model(pipeline: Pipeline) -> dict[str, Any]:
    values = asdict(pipeline.learner.stats())
    size = values.pop("nbytes")
    return {**values, "bytes": size}


def _delays(pipeline: Pipeline) -> dict[str, Any]:
    delays = pipeline.joiner.delays
    return {
        "window_ms": pipeline.run_settings.join.window,
        "edges_ms": delays.edges.tolist(),
        "matched": delays.matched.tolist(),
        "late": delays.late.tolist(),
    }
