"""What a person sees in the terminal: progress on stderr, summaries on stdout."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from textwrap import wrap
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

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
    signals: list[int] = []

    def ask(signum: int, _: FrameType | None) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(signum)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(signals)
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
        for name, words in rows:
            lines = [words]
            if out.is_terminal:
                width = max(out.width - indent, 20)
                lines = wrap(words, width, break_long_words=False, break_on_hyphens=False)
            text = ("\n" + " " * indent).join(lines)
            out.print(Text.assemble((name.ljust(indent), "bold"), text), soft_wrap=True)


def time_of(ms: int | None) -> str:
    """An event time for people, UTC."""
    if ms is None:
        return "-"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def percent(value: float | None) -> str:
    """A share in percent, `-` where there is none."""
    return "-" if value is None else f"{100 * value:.2f}%"


def number(value: float | None, digits: int) -> str:
    """So many digits after the point, `-` where there is no value."""
    return "-" if value is None else f"{value:.{digits}f}"
