"""The report of a run: one HTML page that needs no network.

metrics.json ── summary (numbers in words) ──┐
             ├─ tables ──────────────────────┼─ template ── report.html
             └─ charts (figures) ────────────┘
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from deploy.report import summary
from deploy.report.charts import counts, quality, truth
from deploy.report.charts.style import Json, complete, when
from deploy.report.tables import details
from deploy.report.template import PAGE
from streams.errors import DataError

CONFIG = {"displayModeBar": False, "displaylogo": False, "responsive": True}


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the report: figures under a title and a sentence on how to read them.

    name: of its element. nothing: what to say when there is no figure.
    """

    name: str
    title: str
    how: str
    figures: Sequence[go.Figure | None]
    nothing: str


def write_report(run_dir: Path) -> Path:
    """Draw `run_dir`/metrics.json as `run_dir`/report.html; its path.

    The same metrics give the same bytes. What is missing from the metrics is left out.
    Raises DataError when metrics.json is missing or is not a JSON object.
    """
    target = run_dir / "report.html"
    partial = target.with_suffix(".partial")
    partial.write_text(render(read_metrics(run_dir)), encoding="utf-8")
    return partial.rename(target)


def read_metrics(run_dir: Path) -> dict[str, Any]:
    """The contents of `run_dir`/metrics.json.

    Raises DataError when it is missing or is not a JSON object.
    """
    source = run_dir / "metrics.json"
    try:
        document = json.loads(source.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{source} does not exist; name the folder that `clickloop replay --out` wrote"
        ) from None
    except ValueError as error:
        raise DataError(f"{source} is not valid JSON ({error}); replay the logs again") from None
    if not isinstance(document, dict):
        raise DataError(f"{source} holds no JSON object; replay the logs again")
    return document


def render(document: Json) -> str:
    """The whole page for the contents of a `metrics.json`."""
    run = document.get("run") or {}
    return PAGE.substitute(
        title=escape(str(run.get("title") or "clickloop run")),
        source=_source(run, document),
        notes="".join(f"<p class=note>{escape(str(n))}</p>" for n in run.get("notes") or ()),
        cards="".join(
            f"<div class=card><h3>{escape(c.name)}</h3><b>{escape(c.value)}</b>"
            f"<p>{escape(c.meaning)}</p></div>"
            for c in summary.cards(document)
        ),
        panels="\n".join(_section(panel) for panel in _panels(document)),
        tables=details(document),
        plotly=get_plotlyjs(),
    )


def _panels(document: Json) -> list[Panel]:
    ledger, model = document.get("ledger") or {}, document.get("model") or {}
    panels = [
        Panel(
            "flow",
            "What became of every row",
            "Each impression and each click read is in exactly one band, as wide as their share."
            + summary.ledger_balance(ledger),
            [
                counts.flow(ledger, "impressions", counts.IMPRESSION_FLOWS),
                counts.flow(ledger, "clicks", counts.CLICK_FLOWS),
            ],
            "Nothing was read.",
        ),
        Panel(
            "time",
            "Quality over event time",
            "Below the dotted line at 1 the model beats always predicting its time's average "
            "CTR; bars are 95% intervals. Observed and predicted CTR should run together.",
            [quality.over_time(document.get("buckets") or ())],
            "No example has been evaluated.",
        ),
        Panel(
            "curve",
            "Calibration curve",
            "Each point holds the examples of similar prediction; on the dotted line as many "
            "were clicked as predicted. Bars are 95% intervals.",
            [quality.calibration_curve(document.get("curve") or ())],
            "No example has been evaluated.",
        ),
        Panel(
            "deciles",
            "Calibration by decile",
            "Examples in ten equal parts by prediction: above 1 the model expects too many "
            "clicks, below 1 too few; a bar that crosses 1 may be chance. Parts without a click "
            "are left out.",
            [quality.decile_ratios(document.get("deciles") or ())],
            "No part has both predictions and clicks.",
        ),
        Panel(
            "delays",
            "How long clicks take",
            "Clicks by the time since their impression; those beyond the window came too late to "
            "label it."
            + summary.late_clicks(document.get("delays") or {})
            + summary.breaker_openings(document.get("breaker") or {}),
            [counts.delays(document.get("delays") or {})],
            "No click was matched.",
        ),
        Panel(
            "features",
            "Features",
            "Distinct features seen in the log, those admitted to the table, and those whose "
            "weight is not zero." + summary.model_size(model) + summary.filter_errors(model),
            [counts.features(model)],
            "No feature was seen.",
        ),
        Panel(
            "rejections",
            "Dead letters",
            "Rows that were refused, by reason; each is in dead-letter.ndjson with its place.",
            [counts.dead_letters(document.get("rejections") or {})],
            "No row was refused.",
        ),
    ]
    if document.get("truth"):
        panels.insert(3, _truth(document["truth"]))
    return panels


def _truth(compared: Json) -> Panel:
    """What only simulated traffic can show."""
    how = (
        "This traffic is simulated, so the true click probabilities are known. On the dotted "
        "line they are, on average, what was predicted; bars hold the middle 80% of them, and "
        "larger points more examples."
    )
    error, reached = compared.get("mean_abs_error"), compared.get("normalized_entropy")
    best = compared.get("oracle_normalized_entropy")
    if error is not None:
        how += f" On average they are {100 * error:.2g} percentage points apart."
    if reached is not None and best is not None:
        how += (
            f" Judged by every click that ever came, the predictions' normalized entropy is "
            f"{reached:.4f}; the truth itself, which only chance can beat, has {best:.4f}."
        )
    return Panel(
        "truth",
        "Prediction and truth",
        how,
        [
            truth.calibration(compared.get("bins") or ()),
            truth.error_over_time(compared.get("eighths") or ()),
        ],
        "No example.",
    )


def _section(panel: Panel) -> str:
    """The panel as HTML, two figures side by side where there is room."""
    figures = [
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"{panel.name}-{i}",
            config=CONFIG,
            default_height=f"{figure.layout.height}px",
        )
        for i, figure in enumerate(panel.figures)
        if figure is not None
    ]
    columns = "figures pair" if len(figures) == 2 else "figures"
    return (
        f"<section id={panel.name}><h2>{panel.title}</h2><p class=how>{panel.how}</p>"
        f"<div class='{columns}'>{''.join(figures) or f'<p class=nothing>{panel.nothing}</p>'}"
        "</div></section>"
    )


def _source(run: Json, document: Json) -> str:
    """Which logs, which stretch of event time, which version."""
    logs = ((name, run.get(name)) for name in ("impressions", "clicks"))
    parts = [f"{name}: {escape(str(path))}" for name, path in logs if path]
    buckets = complete(document.get("buckets"), "ts", "width_ms")
    if buckets:
        first, last = when(buckets[0]["ts"]), when(buckets[-1]["ts"] + buckets[-1]["width_ms"])
        parts.append(f"event time {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC")
    version = (document.get("clickloop") or {}).get("version")
    if version:
        parts.append(f"clickloop {escape(str(version))}")
    return " · ".join(parts)
