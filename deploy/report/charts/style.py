"""What the report's figures have in common: colours, layout, axes, error bars, numbers."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import plotly.graph_objects as go

BLUE, AMBER, GREEN, RED, GREY = "#2563eb", "#d97706", "#0d9488", "#dc2626", "#94a3b8"
INK, MUTED, GRID = "#1f2937", "#64748b", "#e2e8f0"
LATEST = 253_402_300_799  # seconds since the epoch: the last that a datetime can hold
UNSEEN = "rgba(0,0,0,0)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
ABOVE = {
    "orientation": "h",
    "x": 0,
    "y": 1.02,
    "yanchor": "bottom",
    "traceorder": "normal",
}  # a legend's place

Json = Mapping[str, Any]
Bounds = Sequence[float] | None


def layout(figure: go.Figure, height: int, **changes: Any) -> go.Figure:
    """`figure` in the report's style, as wide as its place on the page, `height` pixels."""
    margin = {"l": 56, "r": 16, "t": 36, "b": 48}
    figure.update_layout(
        **{
            "template": "none",
            "height": height,
            "autosize": True,
            "margin": margin,
            "font": {"family": FONT, "size": 13, "color": INK},
            "hoverlabel": {"font": {"family": FONT, "size": 13}},
            "paper_bgcolor": UNSEEN,
            "plot_bgcolor": UNSEEN,
            **changes,
        }
    )
    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "tickfont": {"color": MUTED},
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def agreement(figure: go.Figure, values: Sequence[float], x: str, y: str) -> go.Figure:
    """Two probabilities against each other: equal logarithmic axes, and the line x = y.

    values: all that must be in view. x, y: the axes' titles.
    """
    low = math.log10(min(v for v in values if v > 0)) - 0.1
    high = min(math.log10(max(values)) + 0.1, 0.02)
    line = [10**low, 10**high]
    figure.add_scatter(
        x=line,
        y=line,
        mode="lines",
        line={"color": MUTED, "dash": "dot"},
        name="agreement",
        hoverinfo="skip",
    )
    steps = (1, 2, 5) if high - low < 2.2 else (1,)
    ticks = [step * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    ticks = [t for t in ticks if low <= math.log10(t) <= high]
    axis = {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [share(t) for t in ticks],
    }
    figure.update_xaxes(title_text=x, **axis)
    figure.update_yaxes(title_text=y, **axis)
    return layout(figure, height=440, legend=ABOVE)


def ratio_axis(reach: float) -> dict[str, Any]:
    """A logarithmic axis for ratios around 1, from 10**-reach to 10**reach."""
    if reach < 0.12:
        ticks = [0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3]
    elif reach < 0.3:
        ticks = [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2]
    else:
        ticks = [0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100, 1000]
    return {
        "type": "log",
        "range": [-reach, reach],
        "tickvals": ticks,
        "ticktext": [f"{t:g}×" for t in ticks],
    }


def error_bars(
    values: Sequence[float | None], bounds: Sequence[Bounds], colour: str
) -> dict[str, Any]:
    """Plotly's error bars from `values` to their `bounds` (low, high); None has none."""
    pairs = [
        (0.0, 0.0) if value is None or not ends else (value - ends[0], ends[1] - value)
        for value, ends in zip(values, bounds, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "arrayminus": [max(below, 0.0) for below, _ in pairs],
        "array": [max(above, 0.0) for _, above in pairs],
        "color": faded(colour),
        "thickness": 1.5,
        "width": 0,
    }


def faded(colour: str) -> str:
    """`colour` (#rrggbb), see-through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.4)"


def share(part: float, digits: int = 2) -> str:
    """A share in percent, with so many digits that count: 4.4%, 0.012%, 50%."""
    if part <= 0:
        return "0%"
    digits = max(0, min(10, digits - 1 - math.floor(math.log10(part * 100))))
    text = f"{part * 100:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def complete(rows: Sequence[Json] | None, *keys: str) -> list[Json]:
    """The rows that hold a value for every one of `keys`."""
    return [row for row in rows or () if row and all(row.get(key) is not None for key in keys)]


def when(ts: int) -> datetime:
    """The UTC time of `ts` milliseconds since the epoch; the year 9999 for anything later."""
    return datetime.fromtimestamp(min(ts // 1000, LATEST), UTC).replace(tzinfo=None)
