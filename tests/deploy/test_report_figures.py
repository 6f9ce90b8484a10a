"""The report's figures and sentences: right in their numbers."""

import copy
from typing import Any

import numpy as np
import pytest

from deploy.report.charts import counts, quality, truth
from deploy.report.charts.style import share
from deploy.report.report import render
from deploy.report.summary import cards
from tests.support.report_page import HOUR, sections, usual


def test_the_flows_are_the_ledger() -> None:
    figure = counts.flow(usual()["ledger"], "clicks", counts.CLICK_FLOWS)
    assert figure is not None
    sankey = figure.data[0]
    clicks = usual()["ledger"]["matched_clicks"]
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
    assert "does not balance" not in render(usual())
    document = copy.deepcopy(usual())
    document["ledger"]["orphan_clicks"] += 1
    read = document["ledger"]["clicks"]
    assert f"does not balance: {read:,} clicks read, {read + 1:,} told" in render(document)


def test_every_click_is_in_the_delays() -> None:
    figure = counts.delays(usual()["delays"])
    assert figure is not None
    in_time, late = figure.data
    assert sum(in_time.y) == sum(usual()["delays"]["matched"])
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
    html = sections(render(usual() | {"breaker": breaker}))["delays"]
    assert ("stayed away" in html) == (said is not None)
    assert said is None or said in html


def test_time_without_examples_breaks_the_line() -> None:
    row = usual()["buckets"][0]
    rows = [row, {**row, "ts": row["ts"] + HOUR}, {**row, "ts": row["ts"] + 5 * HOUR}]
    figure = quality.over_time(rows)
    assert figure is not None
    assert [x is None for x in figure.data[0].x] == [False, False, True, False]


def test_points_that_say_nothing_are_not_drawn() -> None:
    seen = {"p": 0.1, "ctr": 0.2, "ctr_interval": [0.1, 0.3], "examples": 50, "positives": 10}
    none = {"p": 0.01, "ctr": 0.0, "ctr_interval": [0.0, 0.02], "positives": 0}
    figure = quality.calibration_curve([{**none, "examples": 99}, {**none, "examples": 100}, seen])
    assert figure is not None
    assert [len(trace.x) for trace in figure.data] == [1, 1, 2]
    assert figure.data[1].customdata[0] == [100]


def test_the_truth_is_beside_what_was_predicted() -> None:
    figure = truth.calibration(usual()["truth"]["bins"])
    assert figure is not None
    points, line = figure.data
    assert (points.x, points.y) == ((0.011, 0.2), (0.01, 0.19))
    assert points.error_y.arrayminus == pytest.approx((0.005, 0))
    assert points.error_y.array == pytest.approx((0.01, 0))
    assert line.x == line.y
    figure = truth.error_over_time(usual()["truth"]["eighths"])
    assert figure is not None
    assert (figure.data[0].x, figure.data[0].y) == ((1, 3), (0.02, 0.01))
    text = sections(render(usual()))["truth"]
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


@pytest.mark.parametrize(
    ("throughput", "says"),
    [
        ({"impressions_per_s": 1200.4, "seconds": 2.0, "compiling_s": 0.0}, "took 2.0 s."),
        (
            {"impressions_per_s": 1200.4, "seconds": 92.0, "compiling_s": 90.0},
            "took 2.0 s, and 90.0 s to compile, once on a machine.",
        ),
        ({"impressions_per_s": 1200.4, "seconds": 2.0}, "took 2.0 s."),
    ],
)
def test_speed_in_words(throughput: dict[str, float], says: str) -> None:
    document = usual() | {"throughput": throughput}
    speed = next(card for card in cards(document) if card.name == "Speed")
    assert speed.value == "1,200/s"
    assert speed.meaning == f"Impressions joined and learned a second. The run {says}"
