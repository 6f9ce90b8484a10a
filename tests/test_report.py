"""The report: self-contained, complete, right in its numbers, and open to any run."""

import copy
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from deploy import count_charts, quality_charts, truth_charts
from deploy.drawing import share
from deploy.headline import cards
from deploy.report import page, write_report
from ftrl.evaluation import Evaluation
from streams.errors import DataError

PAIRS = ("flow", "truth")  # panels of two figures
PANELS = ("flow", "time", "curve", "truth", "deciles", "delays", "features", "rejections")
HOUR = 3_600_000
EDGES = [0, *(1000 * 2**k for k in range(20))]  # ms; the last bin is open
Document = dict[str, Any]


def document_of(examples: int) -> Document:
    """Metrics of a made-up run over two days; the predictions are 10% too high."""
    rng = np.random.default_rng(examples)
    logit = rng.normal(-3.0, 1.0, examples)
    label = (rng.random(examples) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    ts = np.sort(1_541_030_400_000 + (rng.random(examples) * 48 * HOUR).astype(np.int64))
    evaluation = Evaluation()
    evaluation.update(logit + 0.1, label, np.ones(examples), ts)
    clicks = int(label.sum())
    matched = rng.multinomial(clicks, np.full(len(EDGES), 1 / len(EDGES)))
    return {
        "clickloop": {"version": "0.1.0"},
        "run": {
            "title": "a made-up run",
            "impressions": "impressions.ndjson",
            "clicks": "clicks.ndjson",
            "config": {"join": {"window": 30 * 60_000}},
            "notes": ["Click delays are drawn."],
        },
        "ledger": {
            "impressions": examples + 12,
            "positives": clicks,
            "negatives": examples - clicks,
            "sampled_out": 0,
            "open": 0,
            "duplicate_impressions": 5,
            "rejected": 7,
            "clicks": clicks + 6,
            "matched_clicks": clicks,
            "waiting_clicks": 0,
            "duplicate_clicks": 1,
            "late_clicks": 2,
            "orphan_clicks": 3,
            "rejected_clicks": 0,
            "corrections": 0,
        },
        "metrics": evaluation.metrics(),
        "corrected": evaluation.metrics(),
        "deciles": evaluation.deciles(),
        "curve": evaluation.curve(),
        "buckets": evaluation.buckets(),
        "delays": {
            "window_ms": 30 * 60_000,
            "edges_ms": EDGES,
            "matched": matched.tolist(),
            "late": [0] * (len(EDGES) - 1) + [2],
        },
        "model": {
            "features_seen": 900,
            "features_admitted": 500,
            "nonzero_weights": 70,
            "bytes": 3 * 2**20,
            "refused": 0,
            "evicted": 1234,
            "saturated": 4,
            "filter_fill": 0.25,
            "false_positives": 0.012,
            "false_positives_in_theory": 0.011,
            "false_admissions": 0.0042,
        },
        "rejections": {"too_late": 4, "wrong_type": 3},
        "snapshots": [{"version": 1, "ts": 1_541_030_400_000, "nonzero": 70, "bytes": 900}],
        "throughput": {"impressions_per_s": 250_000.0, "seconds": 0.1},
        "truth": {
            "bins": [
                {"p": 0.011, "true_p": 0.01, "true_p_range": [0.005, 0.02], "examples": 9},
                {"p": 0.2, "true_p": 0.19},
            ],
            "mean_abs_error": 0.0123,
            "normalized_entropy": 0.88,
            "oracle_normalized_entropy": 0.82,
            "eighths": [
                {"examples": 9, "calibration": 1.1, "mean_abs_error": 0.02},
                {"examples": 0, "calibration": None, "mean_abs_error": None},
                {"examples": 9, "calibration": 1.0, "mean_abs_error": 0.01},
            ],
        },
    }


USUAL = json.loads(json.dumps(document_of(20_000), allow_nan=False))
SPARSE = json.loads(json.dumps(document_of(30), allow_nan=False))


def own(html: str) -> str:
    """The page without Plotly itself."""
    assert html.count(get_plotlyjs()) == 1
    return html.replace(get_plotlyjs(), "")


def sections(html: str) -> dict[str, str]:
    return dict(re.findall(r"<section id=\"?(\w+)\"?>(.*?)</section>", html, re.DOTALL))


def test_the_page_holds_everything_and_asks_for_nothing() -> None:
    html = own(page(USUAL))
    assert not re.findall(r"https?://|//cdn|@import|url\(|<iframe|<img|<script src", html)
    assert re.findall(r"<link[^>]*>", html) == ['<link rel=icon href="data:,">']
    assert "default-src 'none'" in html


def test_every_panel_is_drawn_and_says_how_to_read_it() -> None:
    parts = sections(page(USUAL))
    assert sorted(parts) == sorted(PANELS)
    for name, html in parts.items():
        how = re.search(r"<p class=how>(.+?)</p>", html)
        assert how, name
        assert how[1].endswith((".", ".</b>")), name
        assert html.count("Plotly.newPlot") == (2 if name in PAIRS else 1)
        assert "class=nothing" not in html


def test_the_same_metrics_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(USUAL), encoding="utf-8")
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    first = path.read_bytes()
    assert write_report(tmp_path).read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "report.html"]


@pytest.mark.parametrize("contents", [None, b"", b"{", b"[]", b"\xff{}"])
def test_unreadable_metrics_are_named(tmp_path: Path, contents: bytes | None) -> None:
    if contents is not None:
        (tmp_path / "metrics.json").write_bytes(contents)
    with pytest.raises(DataError, match=r"metrics\.json .*replay"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_an_empty_document_gives_a_page_that_says_so() -> None:
    parts = sections(page({}))
    assert sorted(parts) == sorted(set(PANELS) - {"truth"})
    assert all("class=nothing" in html for html in parts.values())


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document, its own excepted."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:3]))
    return [p for key, v in items for p in ((*path, key), *places(v, (*path, key)))]


# A count in a list, or an edge, is never missing alone: the list is.
HOLES = [p for p in places(SPARSE) if not (isinstance(p[-1], int) and p[0] != "snapshots")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(HOLES), max_size=6), st.booleans())
def test_missing_parts_are_left_out(holes: list[tuple[str | int, ...]], drop: bool) -> None:
    document = copy.deepcopy(SPARSE)
    for *path, last in holes:
        part: Any = document
        for key in path:
            part = part.get(key) if isinstance(part, dict) else part[key] if part else None
        if isinstance(part, dict) and drop:
            part.pop(last, None)
        elif part is not None:
            part[last] = None
    assert "</html>" in page(document)


def test_how_often_filters_err_is_said_where_there_are_filters() -> None:
    said = sections(page(USUAL))["features"]
    assert "25% of the filters' counters are in use" in said
    assert "let 0.42% in (a live estimate" in said
    assert "1.2% of the time, 1.1% in theory" in said
    assert "<tr><td>false admissions<td>0.0042" in page(USUAL)
    document = copy.deepcopy(USUAL)
    document["model"]["filter_fill"] = 0
    assert "counters are in use" not in page(document)


def test_text_from_a_run_is_never_markup() -> None:
    evil = "</script><script>alert(1)</script>&<b>"
    document = copy.deepcopy(USUAL)
    document["run"].update(title=evil, impressions=evil, notes=[evil], config={evil: evil})
    document["rejections"] = {evil: 3}
    document["snapshots"][0]["version"] = evil
    html = own(page(document))
    assert "alert(1)</script>" not in html
    assert "<b>&" not in html
    assert html.count("<script") == own(page(USUAL)).count("<script")
    figure = count_charts.dead_letters(document["rejections"])
    assert figure is not None
    assert "<" not in figure.data[0].y[0]


def test_the_flows_are_the_ledger() -> None:
    figure = count_charts.flow(USUAL["ledger"], "clicks", count_charts.CLICK_FLOWS)
    assert figure is not None
    sankey = figure.data[0]
    clicks = USUAL["ledger"]["matched_clicks"]
    shown = [
        v for v, source in zip(sankey.link.value, sankey.link.source, strict=True) if (source == 0)
    ]
    assert shown == [clicks, 2, 1, 3]
    assert [label.split("<br>")[0] for label in sankey.node.label if label] == [
        "clicks read",
        "matched",
        "late",
        "duplicate",
        "orphan",
    ]
    assert sankey.node.label[0].endswith(f"{clicks + 6:,}")


def test_a_ledger_that_does_not_balance_is_said() -> None:
    assert "does not balance" not in page(USUAL)
    document = copy.deepcopy(USUAL)
    document["ledger"]["orphan_clicks"] += 1
    read = document["ledger"]["clicks"]
    assert f"does not balance: {read:,} clicks read, {read + 1:,} told" in page(document)


def test_every_click_is_in_the_delays() -> None:
    figure = count_charts.delays(USUAL["delays"])
    assert figure is not None
    in_time, late = figure.data
    assert sum(in_time.y) == sum(USUAL["delays"]["matched"])
    assert sum(late.y) == 2
    assert in_time.customdata[:2] == ("up to 1 s", "1 s to 2 s")
    assert in_time.customdata[-1].endswith("or more")
    ends = [x + w / 2 for x, w in zip(in_time.x, in_time.width, strict=True)]
    starts = [x - w / 2 for x, w in zip(in_time.x, in_time.width, strict=True)]
    assert starts[1:] == pytest.approx(ends[:-1])
    assert ends[0] == pytest.approx(3.0)
    assert figure.layout.shapes[0].x0 == pytest.approx(np.log10(30 * 60_000))


@pytest.mark.parametrize(
    ("breaker", "said"),
    [
        ({"open": False, "rate": 0.1, "openings": 0}, None),
        ({"open": False, "rate": 0.1, "openings": 1}, "once: labels waited"),
        ({"open": True, "rate": 0.1, "openings": 1_200}, "1,200 times: labels waited"),
    ],
)
def test_clicks_that_stayed_away_are_said(breaker: dict[str, Any], said: str | None) -> None:
    html = sections(page(USUAL | {"breaker": breaker}))["delays"]
    assert ("stayed away" in html) == (said is not None)
    assert said is None or said in html


def test_time_without_examples_breaks_the_line() -> None:
    row = USUAL["buckets"][0]
    rows = [row, {**row, "ts": row["ts"] + HOUR}, {**row, "ts": row["ts"] + 5 * HOUR}]
    figure = quality_charts.over_time(rows)
    assert figure is not None
    assert [x is None for x in figure.data[0].x] == [False, False, True, False]


def test_points_that_say_nothing_are_not_drawn() -> None:
    seen = {"p": 0.1, "ctr": 0.2, "ctr_interval": [0.1, 0.3], "examples": 50, "positives": 10}
    none = {"p": 0.01, "ctr": 0.0, "ctr_interval": [0.0, 0.02], "positives": 0}
    figure = quality_charts.calibration_curve(
        [{**none, "examples": 99}, {**none, "examples": 100}, seen]
    )
    assert figure is not None
    assert [len(trace.x) for trace in figure.data] == [1, 1, 2]
    assert figure.data[1].customdata[0] == [100]


def test_the_truth_is_beside_what_was_predicted() -> None:
    figure = truth_charts.truth(USUAL["truth"]["bins"])
    assert figure is not None
    points, line = figure.data
    assert (points.x, points.y) == ((0.011, 0.2), (0.01, 0.19))
    assert points.error_y.arrayminus == pytest.approx((0.005, 0))
    assert points.error_y.array == pytest.approx((0.01, 0))
    assert line.x == line.y
    figure = truth_charts.learning(USUAL["truth"]["eighths"])
    assert figure is not None
    assert (figure.data[0].x, figure.data[0].y) == ((1, 3), (0.02, 0.01))
    text = sections(page(USUAL))["truth"]
    assert "1.2 percentage points apart" in text
    assert "normalized entropy is 0.8800" in text
    assert "has 0.8200" in text


def card(name: str, **metrics: object) -> tuple[str, str]:
    found = next(c for c in cards({"metrics": metrics}) if c.name == name)
    return found.value, found.meaning


@pytest.mark.parametrize(
    ("score", "interval", "says"),
    [
        (0.75, [0.74, 0.76], "25% less log loss than always predicting the average CTR"),
        (0.98, [0.95, 1.01], "cannot be told apart"),
        (1.2, [1.1, 1.3], "Worse than always predicting the average CTR, by 20%"),
    ],
)
def test_normalized_entropy_in_words(score: float, interval: list[float], says: str) -> None:
    name = "Normalized entropy"
    value, meaning = card(name, normalized_entropy=score, normalized_entropy_interval=interval)
    assert value == f"{score:.4f}"
    assert f"{interval[0]:.4f} to {interval[1]:.4f}" in meaning
    assert says in meaning
    assert card(name)[0] == "–"


@pytest.mark.parametrize(
    ("ratio", "says"), [(1.0002, "As many"), (1.31, "31% more"), (0.98, "2% fewer")]
)
def test_calibration_in_words(ratio: float, says: str) -> None:
    assert says in card("Calibration", calibration=ratio)[1]


def test_rate_in_words() -> None:
    assert card("Click-through rate", ctr=0.00463) == (
        "0.463%",
        "One impression in 216 was clicked.",
    )
    assert card("Click-through rate", ctr=0.0)[0] == "0%"


@pytest.mark.parametrize(
    ("part", "text"),
    [(0, "0%"), (0.5, "50%"), (1, "100%"), (0.0435, "4.3%"), (0.00012, "0.012%"), (0.2, "20%")],
)
def test_shares_are_short(part: float, text: str) -> None:
    assert share(part) == text


@pytest.fixture(scope="module")
def chromium() -> str:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("CI must have chromium on the PATH")
    if path is None:
        pytest.skip("chromium is not on the PATH")
    return path


def opened(chromium: str, path: Path, width: int) -> tuple[str, list[str]]:
    """The page's elements once drawn, and what the browser's console says."""
    shown = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={path.parent / 'profile'}",
            f"--window-size={width},3000",
            "--enable-logging=stderr",
            "--v=0",
            "--virtual-time-budget=5000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=True,
        encoding="utf-8",
    )
    return shown.stdout, [line for line in shown.stderr.splitlines() if "CONSOLE" in line]


PROBE = """<script>addEventListener("load", () => setTimeout(() => {
document.body.dataset.over = document.documentElement.scrollWidth
- document.documentElement.clientWidth; }, 1000))</script>"""


@pytest.mark.parametrize(
    ("document", "width"),
    [(USUAL, 1200), (USUAL, 500), (SPARSE, 500), ({}, 1200)],
    ids=["usual", "narrow", "sparse", "empty"],
)
def test_it_opens_in_a_browser_without_network_or_errors(
    chromium: str, tmp_path: Path, document: Document, width: int
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(document), encoding="utf-8")
    report = write_report(tmp_path)
    with report.open("a", encoding="utf-8") as file:
        file.write(PROBE)
    elements, console = opened(chromium, report, width)
    assert not console
    assert 'data-over="0"' in elements, "the page is wider than its window"
    drawn = sections(elements)
    assert sorted(drawn) == sorted(sections(page(document)))
    for name, html in drawn.items():
        figures = len(re.findall(r"class=\"[^\"]*js-plotly-plot", html))
        assert figures == (0 if not document else 2 if name in PAIRS else 1), name
        assert html.count('class="main-svg"') >= figures


def test_the_browser_would_tell(chromium: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    image = '<img src="https://example.org/x.png">'
    path.write_text(page({}).replace("</main>", image + "</main>"), encoding="utf-8")
    console = opened(chromium, path, 1200)[1]
    assert console
    assert "Content Security Policy" in console[0]
