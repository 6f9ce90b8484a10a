"""The examples in docstrings of the product, run as they stand, beside the logs they name."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

from deploy.replay.replay import replay
from deploy.settings import load
from tests import ROOT

SMALL = ROOT / "docs" / "examples" / "small"

ROOMS = ("streams", "joiner", "ftrl", "deploy", "clickloop")
PATHS = [
    path
    for room in ROOMS
    for path in sorted((ROOT / room).glob("**/*.py"))
    if ">>> " in path.read_text()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where examples run: `logs` are small ones with their settings, `runs/small` their replay."""
    made = tmp_path_factory.mktemp("examples")
    shutil.copytree(SMALL, made / "logs")
    impressions, clicks = (f"{SMALL}/{name}.ndjson" for name in ("impressions", "clicks"))
    replay(load(SMALL / "config.toml"), impressions, clicks, made / "runs" / "small")
    return made


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of_a_module_run(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    examples = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]
    assert examples, f"{name}: no example was found"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in examples:
        assert runner.run(test).failed == 0, test.name
