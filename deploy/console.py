"""What a person sees in the terminal: progress on stderr, summaries on stdout."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from textwrap import wrap
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from streams.duration import readable

Report = Callable[[int, int], None]
"""Progress: called with what is done so far, and with all there is."""

Rows = Sequence[tuple[str, str]]
"""Names, and what is said of each."""

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


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether somebody asked to stop (Ctrl-C, SIGTERM); asking twice interrupts at once."""
    asked: list[int] = []

    def ask(signum: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(signum)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(*sections: tuple[str, Rows]) -> None:
    """Print titled sections of names and what is said of them, in two columns for all.

    A long text continues below itself, cut between words only, so that paths stay whole. Where
    stdout is no terminal each row is one line.
    """
    indent = max(len(name) for _, rows in sections for name, _ in rows) + 2
    for i, (title, rows) in enumerate(sections):
        if i:
            out.print()
        if title:
            out.print(Text(title, style="bold underline"), soft_wrap=True)
        for name, said in rows:
            lines = [said]
            if out.is_terminal:
                width = max(out.width - indent, 20)
                lines = wrap(said, width, break_long_words=False, break_on_hyphens=False)
            text = ("\n" + " " * indent).join(lines)
            out.print(Text.assemble((name.ljust(indent), "bold"), text), soft_wrap=True)


def run_summary(values: Mapping[str, Any]) -> Rows:
    """The headline of a run, from its metrics document."""
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
    """The headline of a comparison with the truth, from `truth` in the metrics document."""
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


def time_taken(throughput: Mapping[str, float]) -> str:
    """How long a run took, from its metrics document."""
    compiling = throughput.get("compiling_s", 0.0)  # Earlier versions did not measure it.
    more = f", and {compiling:,.1f} s to compile, once on a machine" if compiling else ""
    return f"{throughput['seconds'] - compiling:,.1f} s{more}"


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


def _corrected(corrections: int, metrics: Mapping[str, Any]) -> Rows:
    """The same figures on the labels that corrections leave, where there are any."""
    if not corrections:
        return []
    said = (
        f"{corrections:,} labels by late clicks, which gives CTR {percent(metrics['ctr'])}, "
        f"normalized entropy {number(metrics['normalized_entropy'], 4)}, "
        f"AUC {number(metrics['auc'], 4)}, calibration {number(metrics['calibration'], 3)}"
    )
    return [("corrected", said)]


def _entropy(metrics: Mapping[str, Any]) -> str:
    text = number(metrics["normalized_entropy"], 4)
    interval = metrics["normalized_entropy_interval"]
    if interval is not None:
        text += f", 95% interval {interval[0]:.4f} to {interval[1]:.4f}"
    return text + "  (1 = always predicting the CTR)"


def percent(value: float | None) -> str:
    """A share in percent, `-` where there is none."""
    return "-" if value is None else f"{100 * value:.2f}%"


def number(value: float | None, digits: int) -> str:
    """So many digits after the point, `-` where there is no value."""
    return "-" if value is None else f"{value:.{digits}f}"
