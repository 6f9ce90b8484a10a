"""The report: self-contained, complete, and open to any run."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.report.charts import counts
from deploy.report.report import render, write_report
from streams.errors import DataError
from tests.support.report_page import PAIRS, PANELS, own, sections, sparse, usual
from tests.support.tiers import tries


def test_the_page_holds_everything_and_asks_for_nothing() -> None:
    html = own(render(usual()))
    assert not re.findall(r"https?://|//cdn|@import|url\(|<iframe|<img|<script src", html)
    assert re.findall(r"<link[^>]*>", html) == ['<link rel=icon href="data:,">']
    assert "default-src 'none'" in html


def test_every_panel_is_drawn_and_says_how_to_read_it() -> None:
    parts = sections(render(usual()))
    assert sorted(parts) == sorted(PANELS)
    for name, html in parts.items():
        how = re.search(r"<p class=how>(.+?)</p>", html)
        assert how, name
        assert how[1].endswith((".", ".</b>")), name
        assert html.count("Plotly.newPlot") == (2 if name in PAIRS else 1)
        assert "class=nothing" not in html


def test_the_same_metrics_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(usual()), encoding="utf-8")
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
    parts = sections(render({}))
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


@st.composite
def some_holes(draw: st.DrawFn) -> list[tuple[str | int, ...]]:
    """A count in a list, or an edge, is never missing alone: the list is."""
    holes = [p for p in places(sparse()) if not (isinstance(p[-1], int) and p[0] != "snapshots")]
    return draw(st.lists(st.sampled_from(holes), max_size=6))


@settings(max_examples=tries(12), suppress_health_check=[HealthCheck.too_slow])
@given(some_holes(), st.booleans())
def test_missing_parts_are_left_out(holes: list[tuple[str | int, ...]], drop: bool) -> None:
    document = copy.deepcopy(sparse())
    for *path, last in holes:
        part: Any = document
        for key in path:
            part = part.get(key) if isinstance(part, dict) else part[key] if part else None
        if isinstance(part, dict) and drop:
            part.pop(last, None)
        elif part is not None:
            part[last] = None
    assert "</html>" in render(document)


def test_how_often_filters_err_is_said_where_there_are_filters() -> None:
    said = sections(render(usual()))["features"]
    assert "25% of the filters' counters are in use" in said
    assert "let 0.42% in (a live estimate" in said
    assert "1.2% of the time, 1.1% in theory" in said
    assert "<tr><td>false admissions<td>0.0042" in render(usual())
    document = copy.deepcopy(usual())
    document["model"]["filter_fill"] = 0
    assert "counters are in use" not in render(document)


def test_text_from_a_run_is_never_markup() -> None:
    evil = "</script><script>alert(1)</script>&<b>"
    document = copy.deepcopy(usual())
    document["run"].update(title=evil, impressions=evil, notes=[evil], config={evil: evil})
    document["rejections"] = {evil: 3}
    document["snapshots"][0]["version"] = evil
    html = own(render(document))
    assert "alert(1)</script>" not in html
    assert "<b>&" not in html
    assert html.count("<script") == own(render(usual())).count("<script")
    figure = counts.dead_letters(document["rejections"])
    assert figure is not None
    assert "<" not in figure.data[0].y[0]
