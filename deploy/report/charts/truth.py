"""The report's figures of predictions beside the truth, which is known for simulated traffic.

Each is drawn from a part of `metrics.json`; None where that holds nothing to draw.
"""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from deploy.report.charts.style import BLUE, Json, agreement, complete, error_bars, layout


def calibration(bins: Sequence[Json]) -> go.Figure | None:
    """Mean true probability against the mean prediction, with the range of most of them."""
    points = [b for b in complete(bins, "p", "true_p") if b["p"] > 0 and b["true_p"] > 0]
    if not points:
        return None
    most = max(b.get("examples") or 1 for b in points)
    values, ranges = [b["true_p"] for b in points], [b.get("true_p_range") for b in points]
    figure = go.Figure().add_scatter(
        x=[b["p"] for b in points],
        y=values,
        error_y=error_bars(values, ranges, BLUE),
        mode="markers",
        name="true, with the middle 80%",
        marker={
            "color": BLUE,
            "size": [5 + 11 * math.sqrt((b.get("examples") or 1) / most) for b in points],
        },
        customdata=[[b.get("examples") or 0] for b in points],
        hovertemplate="predicted %{x:.3%}, true %{y:.3%}<br>%{customdata[0]:,} examples"
        "<extra></extra>",
    )
    inside = [edge for ends in ranges if ends for edge in ends]
    shown = [b["p"] for b in points] + values + inside
    return agreement(figure, shown, "mean prediction", "true probability")


def error_over_time(eighths: Sequence[Json]) -> go.Figure | None:
    """How far predictions are from the truth, in each eighth of the log."""
    rows = [(i, e) for i, e in enumerate(eighths, 1) if e.get("mean_abs_error") is not None]
    if not rows:
        return None
    figure = go.Figure().add_scatter(
        x=[i for i, _ in rows],
        y=[e["mean_abs_error"] for _, e in rows],
        mode="lines+markers",
        line={"color": BLUE, "width": 1.5},
        marker={"size": 9},
        customdata=[[e.get("calibration"), e.get("examples") or 0] for _, e in rows],
        hovertemplate="eighth %{x}: %{y:.3%} apart<br>predicted / true %{customdata[0]:.3f}, "
        "%{customdata[1]:,} examples<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(
        title_text="eighth of the log", tickvals=[i for i, _ in rows], range=[0.5, 8.5]
    )
    figure.update_yaxes(
        title_text="mean |prediction − truth|", rangemode="tozero", tickformat=".2~%"
    )
    return layout(figure, height=440)
