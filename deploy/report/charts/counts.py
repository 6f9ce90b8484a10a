"""The report's figures of counts: what became of the rows, when clicks came, the model's size.

Each is drawn from a part of `metrics.json`; None where that holds nothing to draw. Text that
comes from a run is escaped: Plotly reads labels as markup.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from deploy.report.charts.style import (
    ABOVE,
    AMBER,
    BLUE,
    GREEN,
    GREY,
    INK,
    RED,
    UNSEEN,
    Json,
    faded,
    layout,
    share,
)
from streams.duration import readable

Flows = Sequence[tuple[str, str, str]]  # ledger key, name, colour

IMPRESSION_FLOWS = (
    ("positives", "positive", GREEN),
    ("negatives", "negative", BLUE),
    ("sampled_out", "negative, sampled out", GREY),
    ("open", "still open", AMBER),
    ("duplicate_impressions", "duplicate", AMBER),
    ("rejected", "rejected", RED),
)
CLICK_FLOWS = (
    ("matched_clicks", "matched", GREEN),
    ("late_clicks", "late", AMBER),
    ("waiting_clicks", "still waiting", BLUE),
    ("duplicate_clicks", "duplicate", GREY),
    ("orphan_clicks", "orphan", AMBER),
    ("rejected_clicks", "rejected", RED),
)
DELAY_TICKS = (
    (10, "10 ms"),
    (100, "100 ms"),
    (1_000, "1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (21_600_000, "6 h"),
    (86_400_000, "1 d"),
    (604_800_000, "7 d"),
    (2_592_000_000, "30 d"),
)


def flow(ledger: Json, total: str, flows: Flows) -> go.Figure | None:
    """Where the rows of `ledger[total]` went; flows of 0 are left out."""
    read = ledger.get(total) or 0
    parts = [(name, ledger.get(key) or 0, colour) for key, name, colour in flows]
    parts = [part for part in parts if part[1] > 0]
    if read <= 0 or not parts:
        return None
    n = len(parts)
    names = [f"{name}<br>{count:,} ({share(count / read)})" for name, count, _ in parts]
    colours = [colour for _, _, colour in parts]
    counts = [count for _, count, _ in parts]
    # Plotly writes the last column's labels over its bands, all others beside the node; so
    # an unseen column comes last.
    return layout(
        go.Figure(
            go.Sankey(
                arrangement="fixed",
                hoverinfo="skip",
                node={
                    "label": [f"{total} read<br>{read:,}", *names, *[""] * n],
                    "color": [INK, *colours, *[UNSEEN] * n],
                    "pad": 40,
                    "thickness": 14,
                    "line": {"width": 0},
                    "hoverinfo": "none",
                },
                link={
                    "source": [0] * n + list(range(1, n + 1)),
                    "target": list(range(1, 2 * n + 1)),
                    "value": counts * 2,
                    "color": [faded(colour) for colour in colours] + [UNSEEN] * n,
                    "hoverinfo": "none",
                },
            )
        ),
        height=90 + 56 * n,
        margin={"l": 4, "r": 4, "t": 24, "b": 24},
    )


def delays(histogram: Json) -> go.Figure | None:
    """How long after their impression the clicks came, with the window marked."""
    edges = histogram.get("edges_ms") or []
    matched, late = (histogram.get(key) or [] for key in ("matched", "late"))
    bins = _delay_bins(edges, matched, late)
    if not bins:
        return None
    figure = go.Figure()
    for name, colour, counts in (
        ("in time", BLUE, [b.matched for b in bins]),
        ("late", AMBER, [b.late for b in bins]),
    ):
        figure.add_bar(
            x=[(b.start + b.end) / 2 for b in bins],
            width=[b.end - b.start for b in bins],
            y=counts,
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            customdata=[b.label for b in bins],
            hovertemplate=f"%{{customdata}}: %{{y:,}} {name}<extra></extra>",
        )
    low, high = bins[0].start, bins[-1].end
    window = histogram.get("window_ms")
    if window:
        at = math.log10(window)
        low, high = min(low, at - 0.1), max(high, at + 0.1)
        figure.add_vline(x=at, line={"color": INK, "dash": "dash", "width": 1.5})
        # Beside the line, on the side with more room.
        left = at > (low + high) / 2
        figure.add_annotation(
            x=at,
            y=1.0,
            yref="paper",
            yanchor="bottom",
            xanchor="right" if left else "left",
            text=f"window {readable(window)}",
            showarrow=False,
            font={"color": INK},
        )
    ticks = [(math.log10(ms), text) for ms, text in DELAY_TICKS]
    ticks = [tick for tick in ticks if low - 0.01 <= tick[0] <= high + 0.01]
    figure.update_xaxes(
        title_text="from impression to click",
        tickvals=[at for at, _ in ticks],
        ticktext=[text for _, text in ticks],
        range=[low, high],
    )
    few = max(b.matched + b.late for b in bins) < 6
    figure.update_yaxes(
        title_text="clicks", rangemode="tozero", tickformat=",d", dtick=1 if few else None
    )
    return layout(figure, height=360, barmode="stack", bargap=0, legend=ABOVE)


def features(model: Json) -> go.Figure | None:
    """How many features were seen, entered the table, and have a weight."""
    named = (
        ("features_seen", "seen (estimate)", GREY),
        ("features_admitted", "admitted", BLUE),
        ("nonzero_weights", "non-zero weight", GREEN),
    )
    rows = [
        (name, round(model[k]), colour) for k, name, colour in named if model.get(k) is not None
    ]
    return _bars(rows, height=20 + 40 * len(rows))


def dead_letters(rejections: Json) -> go.Figure | None:
    """Dead letters by reason, the commonest on top."""
    counts = sorted(((n, reason) for reason, n in rejections.items() if n), reverse=True)
    rows = [(escape(reason).replace("_", " "), n, RED) for n, reason in counts]
    return _bars(rows, height=20 + 34 * len(rows))


@dataclass(frozen=True, slots=True)
class _Bin:
    """Clicks by delay: log10 of the edges in ms, the range in words, and the counts."""

    start: float
    end: float
    label: str
    matched: int
    late: int


def _delay_bins(edges: Sequence[float], matched: Sequence[int], late: Sequence[int]) -> list[_Bin]:
    """The bins from the first to the last that holds a click.

    Edges are lower ones: the last bin has no upper one. It and a bin from 0, which a
    logarithmic axis cannot show whole, are drawn a quarter octave wide.
    """
    bins = []
    for i, counts in enumerate(zip(edges, matched, late, strict=False)):
        low, high = counts[0], edges[i + 1] if i + 1 < len(edges) else None
        if low <= 0 and high is None:
            continue
        start = low if low > 0 else (high or 0) / 2**0.25
        end = high or start * 2**0.25
        label = f"{_span(low)} to {_span(end)}" if low > 0 else f"up to {_span(end)}"
        label = label if high else f"{_span(low)} or more"
        bins.append(_Bin(math.log10(start), math.log10(end), label, *counts[1:]))
    used = [i for i, b in enumerate(bins) if b.matched or b.late]
    return bins[used[0] : used[-1] + 1] if used else []


def _span(ms: float) -> str:
    """A duration, short: 1.19 s."""
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= size:
            return f"{ms / size:.3g} {unit}"
    return f"{ms:.0f} ms"


def _bars(rows: Sequence[tuple[str, int, str]], height: int) -> go.Figure | None:
    """Horizontal bars of names and counts, the first on top, each with its number."""
    if not any(count for _, count, _ in rows):
        return None
    names, counts, colours = (list(column) for column in zip(*rows, strict=True))
    figure = go.Figure(
        go.Bar(
            x=counts,
            y=names,
            orientation="h",
            marker={"color": colours},
            text=[f" {count:,}" for count in counts],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(visible=False, range=[0, max(counts) * 1.25])
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    return layout(figure, height=height, margin={"l": 56, "r": 16, "t": 4, "b": 4})
