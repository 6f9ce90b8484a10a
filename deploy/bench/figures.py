"""The document that every benchmark prints: its machine, its versions, and its figures.

A figure may have a target; `asked` in the document. It then says whether the target holds.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeAlias

from rich.table import Table

Figure: TypeAlias = dict[str, Any]


def figure(
    name: str, value: float, unit: str, target: float | None, *, at_most: bool = False
) -> Figure:
    """A figure as `--json` has it. at_most: the target is an upper bound, else a lower one."""
    holds = None if target is None else value <= target if at_most else value >= target
    return {"name": name, "value": value, "unit": unit, "asked": target, "holds": holds}


def circumstances(bench: str, *packages: str) -> dict[str, Any]:
    """The head of a document: the benchmark, the machine, and the versions of what it measures.

    packages: installed distributions beside clickloop and Python.
    """
    names = ("clickloop", *packages)
    return {
        "bench": bench,
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {
            **{name: version(name) for name in names},
            "python": platform.python_version(),
        },
    }


def table(document: Mapping[str, Any]) -> Table:
    """The figures of a document for a terminal, each beside its target."""
    rows = Table("figure", "value", "unit", "asked", "", box=None)
    for each in document["figures"]:
        target, holds = each["asked"], each["holds"]
        rows.add_row(
            each["name"],
            f"{each['value']:,.2f}",
            each["unit"],
            "" if target is None else f"{target:,g}",
            "" if holds is None else "holds" if holds else "does not hold",
        )
    return rows


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and those it starts, to one core meanwhile."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
