"""A run in the terminal: rows of names and words, from its metrics document."""

from collections.abc import Mapping
from typing import Any

from deploy.console import Rows, number, percent
from deploy.report.summary import time_taken
from streams.duration import readable


def run_summary(values: Mapping[str, Any]) -> Rows:
    """The summary of a run, from its metrics document."""
    ledger, metrics, model = values["ledger"], values["metrics"], values["model"]
    speed = values["throughput"]
    return [
        ("impressions", _impressions(ledger)),
        ("clicks", _clicks(ledger, values["delays"]["window_ms"])),
        ("CTR", percent(metrics["ctr"])),
        ("normalized entropy", _entropy(metrics)),
        ("AUC", number(metrics["auc"], 4)),
        ("calibration", f"{number(metrics['calibration'], 3)}  (mean prediction / CTR)"),
        *_corrected(ledger["corrections"], values["corrected"]),
        (
            "features",
            f"{model['features_seen']:,} seen (estimate), {model['features_admitted']:,} admitted, "
            f"{model['nonzero_weights']:,} with a weight",
        ),
        ("speed", f"{speed['impressions_per_s'] or 0:,.0f} impressions/s, {time_taken(speed)}"),
    ]


def truth_summary(truth: Mapping[str, Any]) -> Rows:
    """The summary of a comparison with the truth, from `truth` in the metrics document."""
    late = truth["last_three_quarters"]["calibration"]
    first, last = (truth["eighths"][i]["mean_abs_error"] for i in (0, -1))
    return [
        (
            "prediction / truth",
            f"{number(truth['calibration'], 3)}, over the last three quarters {number(late, 3)}  "
            f"(mean prediction {percent(truth['p'])}, mean true p {percent(truth['true_p'])})",
        ),
        (
            "|p − true p|",
            f"{number(truth['mean_abs_error'], 4)} on average: {number(first, 4)} in the first "
            f"eighth of the log, {number(last, 4)} in the last",
        ),
        (
            "knowing the truth",
            f"normalized entropy {number(truth['oracle_normalized_entropy'], 4)} is the best "
            f"there is; predictions reach {number(truth['normalized_entropy'], 4)}  (judged by "
            "every click that ever came)",
        ),
    ]


def _impressions(ledger: Mapping[str, int]) -> str:
    parts = [f"{ledger['positives']:,} clicked", f"{ledger['negatives']:,} not clicked in time"]
    for key, words in (
        ("sampled_out", "sampled out"),
        ("duplicate_impressions", "duplicate"),
        ("rejected", "rejected"),
    ):
        if ledger[key]:
            parts.append(f"{ledger[key]:,} {words}")
    return f"{ledger['impressions']:,}: " + ", ".join(parts)


def _clicks(ledger: Mapping[str, int], window_ms: int) -> str:
    parts = [f"{ledger['matched_clicks']:,} matched within {readable(window_ms)}"]
    for kind in ("late", "duplicate", "orphan", "rejected"):
        if ledger[f"{kind}_clicks"]:
            parts.append(f"{ledger[f'{kind}_clicks']:,} {kind}")
    return f"{ledger['clicks']:,}: " + ", ".join(parts)


def _corrected(corrections: int, metrics: Mapping[str, Any]) -> Rows:
    """The same figures on the labels that corrections leave, where there are any."""
    if not corrections:
        return []
    words = (
        f"{corrections:,} labels by late clicks, which gives CTR {percent(metrics['ctr'])}, "
        f"normalized entropy {number(metrics['normalized_entropy'], 4)}, "
        f"AUC {number(metrics['auc'], 4)}, calibration {number(metrics['calibration'], 3)}"
    )
    return [("corrected", words)]


def _entropy(metrics: Mapping[str, Any]) -> str:
    text = number(metrics["normalized_entropy"], 4)
    interval = metrics["normalized_entropy_interval"]
    if interval is not None:
        text += f", 95% interval {interval[0]:.4f} to {interval[1]:.4f}"
    return text + "  (1 = always predicting the CTR)"
