"""`clickloop simulate`: its settings, its folder, what it says, and that it is documented."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic.fields import FieldInfo
from rich.console import Console

from deploy import console
from deploy.simulation import simulate
from streams.duration import milliseconds, readable
from streams.errors import ConfigError
from streams.simulator import SimulatorSettings
from tests import ROOT
from tests.support.commands import clickloop

COMMANDS = ROOT / "docs" / "commands.md"
SMALL = ("impressions=3000", "users=200", "ads=60", "publishers=8", "advertisers=5", "ctr=0.2")


def assigned(words: tuple[str, ...]) -> list[str]:
    return [part for word in words for part in ("--set", word)]


def test_keys_are_set_by_name() -> None:
    told = simulate.parse_assignments(
        ["seed = 7", "window=45m", "ctr=0.1", "start=2025-03-30T01:30:00+02:00"]
    )
    assert (told.seed, told.window, told.ctr) == (7, 2_700_000, 0.1)
    assert told.start_ms == 1_743_291_000_000
    assert told.users == SimulatorSettings().users
    assert simulate.parse_assignments([]) == SimulatorSettings()


def test_all_problems_are_listed_at_once() -> None:
    words = ["impresions=5", "ctr=7", "window", "seed=1", "seed=2", "users=many", "drift=nan"]
    words += ["dwell=soon", "start=2026-01-05T00:00:00", "xyzzy=1"]
    with pytest.raises(ConfigError) as caught:
        simulate.parse_assignments(words)
    first, *lines = str(caught.value).splitlines()
    assert first == "simulate: 9 problems in the settings:"
    found = dict(line.strip().split(": ", 1) for line in lines)
    assert found["window"] == "write KEY=VALUE"
    assert found["seed"] == "given twice"
    assert found["impresions"] == "no such setting; did you mean impressions?"
    assert found["xyzzy"] == "no such setting; docs/commands.md lists all of them"
    assert found["ctr"] == "Input should be less than or equal to 0.5 (found '7')"
    assert "valid integer" in found["users"]
    assert "(found 'nan')" in found["drift"]
    assert "write 250ms, 10s, 30m, 2h or 1d" in found["dwell"]
    assert "timezone" in found["start"]


def test_settings_that_do_not_fit_each_other_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        simulate.parse_assignments(["window=10s", "longest_delay=5s"])
    assert "delay_median (20s) must be shorter than window (10s)" in str(caught.value)
    assert "longest_delay (5s) must be longer than window (10s)" in str(caught.value)


@pytest.mark.parametrize("kind", ["file", "full"])
def test_a_folder_in_use_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "used"
    if kind == "file":
        folder.touch()
    else:
        folder.mkdir()
        (folder / "old.parquet").touch()
    with pytest.raises(ConfigError, match="not an empty folder"):
        simulate.run(SimulatorSettings(), folder)
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["old.parquet"] * (kind == "full")


def test_progress_ends_at_all_of_them(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    simulate.run(
        simulate.parse_assignments(SMALL),
        tmp_path,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(3000, 3000)]


def test_it_says_what_it_made(tmp_path: Path) -> None:
    words = assigned((*SMALL[1:], "long_click_share=0.5"))
    done = clickloop("simulate", "--out", tmp_path / "a", "--impressions", 3000, *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document = json.loads((tmp_path / "a" / "simulation.json").read_text())
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    counts = document["impressions"]
    assert lines["impressions"].startswith("3,000: ")
    assert f"{counts['duplicates']:,} delivered twice" in lines["impressions"]
    clicks = document["clicks"]["click"]
    assert lines["clicks"].startswith(f"{clicks['true']:,}: {clicks['beyond_window']:,} after")
    assert f"{document['truth']['normalized_entropy']:.4f}" in done.stdout
    assert f"--impressions {tmp_path}/a/impressions.parquet" in done.stdout

    words += ["--seed", "1", "--format", "ndjson.gz", "--json"]
    done = clickloop("simulate", "--out", tmp_path / "b", "--set", SMALL[0], *words)
    printed = json.loads(done.stdout)
    files = printed.pop("files")
    assert printed == json.loads(Path(files["summary"]).read_text())
    assert printed["format"] == "ndjson.gz"
    assert printed["settings"] == document["settings"]
    assert files["impressions"] == str(tmp_path / "b" / "impressions.ndjson.gz")
    assert all(Path(path).exists() for path in files.values())
    truths = (pq.read_table(tmp_path / name / "truth.parquet") for name in "ab")
    assert next(truths).equals(next(truths))


def test_mistakes_are_exit_2(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--impressions", 0, "--set", "impressions=5", "--set", "ctr=2"]
    done = clickloop("simulate", "--out", out, *words)
    assert done.returncode == 2
    assert "simulate: 3 problems in the settings:\n" in done.stderr
    assert "\n  impressions: given twice\n" in done.stderr
    assert not out.exists()
    assert clickloop("simulate", "--out", out, "--format", "csv").returncode == 2


def test_no_clicks_no_entropy(tmp_path: Path) -> None:
    told = simulate.parse_assignments(
        ["impressions=1", "ctr=0.001", "long_click_share=0", *SMALL[1:5]]
    )
    rows = dict(simulate.summary(simulate.run(told, tmp_path)))
    assert rows["clicks"] == "0"
    assert "long clicks" not in rows
    assert rows["normalized entropy"].startswith("-  ")


def default_of(field: FieldInfo) -> str:
    value: Any = field.default
    if any(getattr(part, "func", None) is milliseconds for part in field.metadata):
        return readable(value)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if hasattr(value, "year") else str(value)


def test_every_key_is_documented() -> None:
    section = COMMANDS.read_text().split("## clickloop simulate\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `") and "`--" not in line]
    assert rows == [
        f"| `{key}` | {field.description} | `{default_of(field)}` |"
        for key, field in SimulatorSettings.model_fields.items()
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_texts_continue_below_themselves(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    path = "/a/folder/whose/name/is/longer/than/the/terminal/is/wide/and/must/stay/whole.html"
    said = "some words that take more than one line of a terminal " * 3
    sections = ("One", [("name", said.strip())]), ("Two", [("a longer name", path)])
    shown = {}
    for terminal in (True, False):
        file = io.StringIO()
        fake = Console(file=file, width=width, force_terminal=terminal)
        monkeypatch.setattr(console, "out", fake)
        console.show(*sections)
        shown[terminal] = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).split("\n")
    lines = shown[True]
    assert lines[0] == "One"
    assert lines[1].startswith("name           some words")
    continued = lines[2 : lines.index("")]
    assert continued
    assert all(line[:15].isspace() and line[15] != " " for line in continued)
    assert all(len(line) <= width and line == line.rstrip() for line in lines if path not in line)
    assert f"a longer name  {path}" in lines
    assert shown[False][1] == f"name           {said.strip()}"
    assert len(shown[False]) == 6
