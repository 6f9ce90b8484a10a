"""The report in a real browser: it opens without network, errors or a line too wide."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.report.report import render, write_report
from tests.support.report_page import PAIRS, Document, sections, sparse, usual


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
    [(usual, 1200), (usual, 500), (sparse, 500), (dict, 1200)],
    ids=["usual", "narrow", "sparse", "empty"],
)
def test_it_opens_in_a_browser_without_network_or_errors(
    chromium: str, tmp_path: Path, document: Callable[[], Document], width: int
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(document()), encoding="utf-8")
    report = write_report(tmp_path)
    with report.open("a", encoding="utf-8") as file:
        file.write(PROBE)
    elements, console = opened(chromium, report, width)
    assert not console
    assert 'data-over="0"' in elements, "the page is wider than its window"
    drawn = sections(elements)
    assert sorted(drawn) == sorted(sections(render(document())))
    for name, html in drawn.items():
        figures = len(re.findall(r"class=\"[^\"]*js-plotly-plot", html))
        assert figures == (0 if not document() else 2 if name in PAIRS else 1), name
        assert html.count('class="main-svg"') >= figures


def test_the_browser_would_tell(chromium: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    image = '<img src="https://example.org/x.png">'
    path.write_text(render({}).replace("</main>", image + "</main>"), encoding="utf-8")
    console = opened(chromium, path, 1200)[1]
    assert console
    assert "Content Security Policy" in console[0]
