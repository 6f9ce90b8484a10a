"""What a person sees in the terminal: progress on stderr, summaries on stdout."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from streams.duration import readable

Report = Callable[[int, int], None]
"""Progress: called with bytes read so far, and in all."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """A bar on stderr that vanishes at the end; nothing where stderr is no terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%")
    with Progress(
        *columns, TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def run_summary(values: Mapping[str, Any]) -> Table:
    """The headline of a run, from its metrics document."""
    ledger, metrics, model = values["ledger"], values["metrics"], values["model"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("impressions", _impressions(ledger))
    table.add_row("clicks", _clicks(ledger, values["delays"]["window_ms"]))
    table.add_row("CTR", _percent(metrics["ctr"]))
    table.add_row("normalized entropy", _entropy(metrics))
    table.add_row("AUC", _number(metrics["auc"], 4))
    table.add_row("calibration", f"{_number(metrics['calibration'], 3)}  (mean prediction / CTR)")
    table.add_row(
        "features",
        f"{model['features_seen']:,} seen (estimate), {model['features_admitted']:,} admitted, "
        f"{model['nonzero_weights']:,} with a weight",
    )
    speed = values["throughput"]
    table.add_row(
        "speed", f"{speed['impressions_per_s'] or 0:,.0f} impressions/s, {speed['seconds']:.1f} s"
    )
    return table


def figures(document: Mapping[str, Any]) -> Table:
    """The figures of a benchmark, each beside what is asked of it."""
    table = Table("figure", "value", "unit", "asked", "", box=None)
    for figure in document["figures"]:
        asked, holds = figure["asked"], figure["holds"]
        table.add_row(
            figure["name"],
            f"{figure['value']:,.2f}",
            figure["unit"],
            "" if asked is None else f"{asked:,g}",
            "" if holds is None else "holds" if holds else "does not hold",
        )
    return table


def time_of(ms: int | None) -> str:
    """An event time for people, UTC."""
    if ms is None:
        return "-"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _impressions(ledger: Mapping[str, int]) -> str:
    parts = [
        f"{ledger['positives']:,} clicked",
        f"{ledger['negatives']:,} not clicked in time",
    ]
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


def _entropy(metrics: Mapping[str, Any]) -> str:
    text = _number(metrics["normalized_entropy"], 4)
    interval = metrics["normalized_entropy_interval"]
    if interval is not None:
        text += f", 95% interval {interval[0]:.4f} to {interval[1]:.4f}"
    return text + "  (1 = always predicting the CTR)"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}%"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
