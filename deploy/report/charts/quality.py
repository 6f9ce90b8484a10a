"""The report's figures of quality: over time, and predicted against observed.

Each is drawn from a part of `metrics.json`; None where that holds nothing to draw.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from deploy.report.charts.style import (
    AMBER,
    BLUE,
    GREEN,
    MUTED,
    Json,
    agreement,
    complete,
    error_bars,
    layout,
    ratio_axis,
    when,
)


def over_time(buckets: Sequence[Json]) -> go.Figure | None:
    """Normalized entropy with intervals, and observed and predicted CTR, by event time."""
    buckets = complete(buckets, "ts", "width_ms")
    if not buckets:
        return None
    rows = _with_gaps(buckets)
    dot = 6 if len(rows) < 60 else 3
    times = [None if row is None else when(row["ts"]) for row in rows]
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.12,
        subplot_titles=("normalized entropy (lower is better)", "click-through rate"),
    )
    scores = _column(rows, "normalized_entropy")
    bounds = _column(rows, "normalized_entropy_interval")
    figure.add_scatter(
        x=times,
        y=scores,
        error_y=error_bars(scores, bounds, BLUE),
        line={"color": BLUE, "width": 1.5},
        marker={"size": dot},
        mode="lines+markers",
        name="normalized entropy",
        showlegend=False,
        hovertemplate="%{x|%d %b %H:%M}: %{y:.4f}<extra></extra>",
    )
    figure.add_hline(y=1, line={"color": MUTED, "dash": "dot"}, row=1, col=1)
    for key, name, colour, dash in (
        ("ctr", "observed", GREEN, "solid"),
        ("p", "predicted", AMBER, "dot"),
    ):
        figure.add_scatter(
            x=times,
            y=_column(rows, key),
            name=name,
            line={"color": colour, "width": 1.5, "dash": dash},
            marker={"size": dot},
            mode="lines+markers",
            hovertemplate=f"%{{x|%d %b %H:%M}}: %{{y:.3%}} {name}<extra></extra>",
            row=2,
            col=1,
        )
    figure.update_yaxes(range=_score_range(buckets), tickformat=".3~f", row=1, col=1)
    figure.update_yaxes(rangemode="tozero", tickformat=".2~%", row=2, col=1)
    figure.update_xaxes(title_text="event time (UTC)", row=2, col=1)
    figure.update_annotations(font={"size": 13, "color": MUTED}, x=0, xanchor="left")
    return layout(
        figure,
        height=520,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 0.46, "yanchor": "bottom"},
    )


def calibration_curve(points: Sequence[Json]) -> go.Figure | None:
    """Observed CTR against the mean prediction, on logarithmic axes, with intervals."""
    points = complete(points, "p", "ctr", "ctr_interval", "examples", "positives")
    seen = [p for p in points if p["ctr"] > 0]
    # Where not even one click was expected, its absence says nothing.
    unseen = [p for p in points if p["ctr"] == 0 and p["p"] * p["examples"] >= 1]
    points = seen + unseen
    if not points:
        return None
    rates = [p["ctr"] for p in seen]
    figure = go.Figure().add_scatter(
        x=[p["p"] for p in seen],
        y=rates,
        error_y=error_bars(rates, [p["ctr_interval"] for p in seen], BLUE),
        mode="lines+markers",
        name="observed, with 95% interval",
        line={"color": BLUE, "width": 1.5},
        marker={"size": 8},
        customdata=[[p["examples"], p["positives"]] for p in seen],
        hovertemplate="predicted %{x:.3%}, observed %{y:.3%}<br>%{customdata[1]:,} clicks of "
        "%{customdata[0]:,}<extra></extra>",
    )
    if unseen:
        figure.add_scatter(
            x=[p["p"] for p in unseen],
            y=[p["ctr_interval"][1] for p in unseen],
            mode="markers",
            name="no click yet: 95% upper limit",
            marker={"symbol": "triangle-down-open", "size": 9, "color": MUTED},
            customdata=[[p["examples"]] for p in unseen],
            hovertemplate="predicted %{x:.3%}, no click of %{customdata[0]:,}<extra></extra>",
        )
    values = rates + [p["p"] for p in points] + [p["ctr_interval"][1] for p in points]
    return agreement(figure, values, "mean prediction", "observed CTR")


def decile_ratios(deciles: Sequence[Json]) -> go.Figure | None:
    """Mean prediction over CTR of each tenth, with intervals; 1 is right."""
    rows = complete(
        deciles, "decile", "p", "ctr", "ctr_interval", "calibration", "examples", "positives"
    )
    if not rows:
        return None
    ratios = [d["calibration"] for d in rows]
    bounds = [_ratio_bounds(d["p"], d["ctr_interval"]) for d in rows]
    figure = go.Figure().add_scatter(
        x=[d["decile"] for d in rows],
        y=ratios,
        error_y=error_bars(ratios, bounds, BLUE),
        mode="markers",
        marker={"size": 9, "color": BLUE},
        customdata=[[d["p"], d["ctr"], d["examples"], d["positives"]] for d in rows],
        hovertemplate="decile %{x}: ratio %{y:.3f}<br>predicted %{customdata[0]:.3%}, observed "
        "%{customdata[1]:.3%}<br>%{customdata[3]:,} clicks of %{customdata[2]:,}<extra></extra>",
    )
    figure.add_hline(y=1, line={"color": MUTED, "dash": "dot"})
    figure.update_xaxes(
        title_text="decile of the prediction (10: the highest)",
        tickvals=list(range(1, 11)),
        range=[0.5, 10.5],
    )
    low = max(min(b[0] for b in bounds), min(ratios) / 2)
    high = min(max(b[1] for b in bounds), max(ratios) * 2)
    edge = max(-math.log10(low), math.log10(high), math.log10(1.1)) + 0.02
    figure.update_yaxes(title_text="predicted / observed", **ratio_axis(edge))
    return layout(figure, height=320, margin={"l": 56, "r": 16, "t": 12, "b": 48})


def _with_gaps(buckets: Sequence[Json]) -> list[Json | None]:
    """The buckets, None where time without examples lies between two: the line breaks."""
    rows: list[Json | None] = []
    for before, row in zip([None, *buckets], buckets, strict=False):
        if before and row["ts"] > before["ts"] + before["width_ms"]:
            rows.append(None)
        rows.append(row)
    return rows


def _column(rows: Sequence[Json | None], key: str) -> list[Any]:
    return [None if row is None else row.get(key) for row in rows]


def _score_range(buckets: Sequence[Json]) -> tuple[float, float]:
    """An axis for the scores that a bucket with hardly any click cannot stretch."""
    clicks = sorted(b.get("positives") or 0 for b in buckets)
    enough = max(1, clicks[len(clicks) // 2] / 4)
    scores = [
        b["normalized_entropy"]
        for b in buckets
        if b.get("normalized_entropy") is not None and (b.get("positives") or 0) >= enough
    ]
    low, high = min([1.0, *scores]), max([1.0, *scores])
    pad = max(0.15 * (high - low), 0.02)
    return low - pad, high + pad


def _ratio_bounds(p: float, ctr: tuple[float, float]) -> tuple[float, float]:
    """The interval of p / CTR from the CTR's."""
    return p / ctr[1], p / max(ctr[0], 1e-12)
