"""The numbers behind the report, as folded tables."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from deploy.report.charts.style import Json, complete, when
from deploy.report.summary import UNKNOWN


def details(document: Json) -> str:
    """The numbers behind the report, as folded tables in HTML."""
    run, ledger = document.get("run") or {}, document.get("ledger") or {}
    first, corrected = document.get("metrics") or {}, document.get("corrected") or {}
    metrics = [[_name(k), _text(v), _text(corrected.get(k))] for k, v in first.items()]
    counts = [[_name(k), _text(v)] for k, v in ledger.items()]
    model = [[_name(k), _text(v)] for k, v in (document.get("model") or {}).items()]
    snapshots = [
        [
            _text(s.get("version")),
            f"{when(s['ts']):%Y-%m-%d %H:%M:%S}" if s.get("ts") is not None else UNKNOWN,
            _text(s.get("nonzero")),
            _text(s.get("bytes")),
        ]
        for s in complete(document.get("snapshots"))
    ]
    settings = json.dumps(run.get("config"), indent=2) if run.get("config") else ""
    return "".join(
        (
            _table("Metrics", ["", "as first labelled", "corrected"], metrics),
            _table("Ledger", ["", "rows"], counts),
            _table("Model", ["", "at the end"], model),
            _table("Snapshots", ["version", "event time (UTC)", "weights", "bytes"], snapshots),
            f"<details><summary>Settings</summary><pre>{escape(settings)}</pre></details>"
            if settings
            else "",
        )
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    top = "".join(f"<th>{escape(name)}" for name in head)
    return (
        f"<details><summary>{title}</summary><div class=wide><table><tr>{top}{body}</table></div>"
        "</details>"
    )


def _name(key: str) -> str:
    return key.replace("_", " ")


def _text(value: Any) -> str:
    match value:
        case None:
            return UNKNOWN
        case float():
            return f"{value:.6g}"
        case int():
            return f"{value:,}"
        case list() | tuple():
            return " to ".join(_text(v) for v in value)
        case _:
            return str(value)
