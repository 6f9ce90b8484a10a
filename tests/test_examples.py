"""The examples in docstrings of the product, run as they stand."""

import doctest
import importlib
from pathlib import Path

import pytest

from tests import ROOT

ROOMS = ("streams", "joiner", "ftrl", "deploy", "clickloop")
PATHS = [
    path
    for room in ROOMS
    for path in sorted((ROOT / room).glob("**/*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of_a_module_run(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    examples = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]
    assert examples, f"{name}: no example was found"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in examples:
        assert runner.run(test).failed == 0, test.name
