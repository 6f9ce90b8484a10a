"""The wheel, built from what git tracks and installed outside the checkout, does what it must."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
from numba import config
from numba.core.caching import UserProvidedCacheLocator

from streams.compute.jit import KERNEL_ROOMS
from tests import ROOT
from tests.support.library_page import examples

pytestmark = pytest.mark.slow

PACKAGES = {"clickloop", *KERNEL_ROOMS, "deploy"}
SHIPPED = {".py", ".pyi", ".toml", ".typed"}
IMPRESSIONS, BAD = 401, 1  # in the small logs


def run(command: Sequence[str | Path], folder: Path, **env: str) -> str:
    """What a command prints; it must succeed."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | env
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=kept, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tracked() -> list[Path]:
    """The files that a clean clone has, as they are now."""
    listed = run(["git", "ls-files", "-z"], ROOT).split("\0")
    return [Path(name) for name in listed if name and (ROOT / name).is_file()]


def built(kind: str, source: Path, folder: Path) -> Path:
    """The `wheel` or `sdist` of the tree in `source`, by the build backend, without a network."""
    folder.mkdir(exist_ok=True)
    call = f"from setuptools import build_meta as b; print(b.build_{kind}({str(folder)!r}))"
    return folder / run([sys.executable, "-c", call], source).splitlines()[-1]


def files(wheel: Path) -> set[str]:
    """What is in the wheel, without its metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files, and nothing else."""
    if not (ROOT / ".git").exists():
        pytest.skip("not in a git checkout: clone clickloop with git")
    folder = tmp_path_factory.mktemp("clone") / "clickloop"
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    """The wheel of a clean clone."""
    return built("wheel", clone, clone.with_name("dist"))


def test_it_ships_the_packages_with_their_data_and_no_tests(wheel: Path) -> None:
    expected = {
        str(name) for name in tracked() if name.parts[0] in PACKAGES and name.suffix in SHIPPED
    }
    assert files(wheel) == expected
    assert {
        "clickloop/py.typed",
        "clickloop/__init__.pyi",
        "deploy/demo/open_bandit.toml",
    } < expected


def test_what_an_earlier_build_left_is_not_shipped(clone: Path, wheel: Path) -> None:
    stale = clone / "build" / "lib" / "streams" / "gone.py"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.touch()
    assert files(built("wheel", clone, clone.with_name("again"))) == files(wheel)


def test_the_source_distribution_makes_the_same_wheel(clone: Path, wheel: Path) -> None:
    archive = built("sdist", clone, clone.with_name("dist"))
    folder = clone.with_name("unpacked")
    shutil.unpack_archive(archive, folder, filter="data")
    (source,) = folder.iterdir()
    assert not (source / "tests").exists()
    assert files(built("wheel", source, clone.with_name("from-sdist"))) == files(wheel)


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and its dependencies, and a folder to work in."""

    bin: Path
    folder: Path
    kernels: Path

    def python(self, *words: str | Path) -> str:
        """What Python prints there."""
        return self._run("python", *words)

    def clickloop(self, *words: str | Path) -> str:
        """What the command prints there."""
        return self._run("clickloop", *words)

    def _run(self, name: str, *words: str | Path) -> str:
        return run([self.bin / name, *words], self.folder, NUMBA_CACHE_DIR=str(self.kernels))


def share_kernels(site: Path, folder: Path) -> None:
    """Give the installed packages the kernels of this checkout, which are the same ones.

    Numba looks for them by the path of their source; where it does not find them it compiles them.
    """
    folder.mkdir()
    subpath = UserProvidedCacheLocator.get_suitable_cache_subpath
    for package in {name.parent for name in tracked() if name.parts[0] in PACKAGES}:
        compiled = Path(config.CACHE_DIR) / subpath(str(ROOT / package / "a.py"))
        compiled.mkdir(parents=True, exist_ok=True)
        (folder / subpath(str(site / package / "a.py"))).symlink_to(compiled)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment that has the pinned dependencies, linked, and nothing else."""
    root = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "venv", "--without-pip", "env"], root)
    python = root / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], root)
    dependencies = root / "dependencies"
    dependencies.mkdir()
    pinned = (ROOT / "requirements" / "run.txt").read_text()
    for name in re.findall(r"^([\w.-]+)==", pinned, re.MULTILINE):
        package = distribution(name)
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if not (dependencies / top).exists():
                (dependencies / top).symlink_to(Path(str(package.locate_file(top))).resolve())
    (site,) = (root / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    share_kernels(site, root / "kernels")
    folder = root / "work"
    shutil.copytree(ROOT / "docs" / "examples", folder / "docs" / "examples")
    return Installed(python.parent, folder, root / "kernels")


def test_everything_of_ours_comes_from_it(installed: Installed) -> None:
    names = ", ".join(sorted(PACKAGES))
    found = installed.python("-c", f"import {names}\nfor x in ({names}): print(x.__file__)")
    homes = {Path(line).parents[1] for line in found.splitlines()}
    (home,) = homes
    assert home.is_relative_to(installed.bin.parent)
    absent = installed.python(
        "-c",
        "from importlib.util import find_spec\n"
        "names = 'tests', 'benchmarks', 'pytest', 'river', 'vowpalwabbit'\n"
        "print([name for name in names if find_spec(name)])",
    )
    assert absent == "[]\n"


def test_a_replay_and_the_commands_after_it(installed: Installed) -> None:
    small, out = Path("docs/examples/small"), Path("runs/small")
    impressions, clicks = (small / f"{name}.ndjson" for name in ("impressions", "clicks"))
    logs = ("--impressions", impressions, "--clicks", clicks)
    told = installed.clickloop(
        "replay", "--config", small / "config.toml", *logs, "--out", out, "--json"
    )
    ledger = json.loads(told)["ledger"]
    assert (ledger["impressions"], ledger["rejected"]) == (IMPRESSIONS, BAD)
    assert (installed.folder / out / "report.html").exists()
    scores = installed.folder / "scores.ndjson"
    installed.clickloop(
        "score", "--store", out / "store", "--input", impressions, "--output", scores
    )
    assert len(scores.read_text().splitlines()) == IMPRESSIONS - BAD
    assert "replay" in installed.python("-m", "clickloop", "--help")


def test_the_learner_is_measured_without_the_others(installed: Installed) -> None:
    document = json.loads(installed.clickloop("bench", "learn", "--examples", "100000", "--json"))
    names = {figure["name"] for figure in document["figures"]}
    assert "kernel_examples_per_s" in names
    assert not {name for name in names if "vowpal" in name or "river" in name}


def test_the_examples_of_the_library_run(installed: Installed) -> None:
    program = installed.folder / "library.py"
    program.write_text(examples()[0])
    assert "no scorer: " in installed.python(program)
