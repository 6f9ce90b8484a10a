"""The rooms keep to themselves: who may import whom, and where each dependency stands."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

MAY_IMPORT = {
    "streams": set[str](),
    "joiner": {"streams"},
    "ftrl": {"streams"},
    "deploy": {"streams", "joiner", "ftrl"},
}
# Each of these is known to few modules, so that it can be replaced, or proven right, in one place.
ONLY_IN = {
    "rocksdict": {"deploy/storage/rocksdb.py"},
    "numba": {"streams/compute/intrinsics.py", "streams/compute/jit.py"},
    "llvmlite": {"streams/compute/intrinsics.py"},
    "plotly": {
        "deploy/report/charts/style.py",
        "deploy/report/charts/counts.py",
        "deploy/report/charts/quality.py",
        "deploy/report/report.py",
        "deploy/report/charts/truth.py",
    },
    "faust": {
        "deploy/bench/ingest_worker.py",
        "joiner/agent.py",
        "ftrl/agent.py",
        "streams/kafka/consume/exclusive_assignor.py",
        "streams/kafka/consume/app.py",
        "streams/kafka/consume/consumer_thread.py",
        "streams/kafka/security.py",
        "streams/kafka/consume/transport.py",
    },
    "aiokafka": {
        "streams/kafka/consume/app.py",
        "streams/kafka/consume/consumer_thread.py",
        "streams/kafka/consume/range_reader.py",
    },
    "kafka": {
        "deploy/bench/ingest.py",
        "streams/kafka/produce/in_flight.py",
        "streams/kafka/client_errors.py",
        "streams/kafka/produce/record_batch.py",
        "streams/kafka/topics.py",
    },
    "aiohttp": {"deploy/workers/health.py"},
    "prometheus_client": {
        "deploy/workers/health.py",
        "deploy/workers/join/metrics.py",
        "deploy/workers/learn/metrics.py",
    },
    "typer": {
        "deploy/cli/app.py",
        "deploy/cli/bench.py",
        "deploy/cli/common.py",
        "deploy/cli/kafka.py",
    },
    "pydantic_settings": {"deploy/settings.py"},
    "msgspec": {
        "deploy/workers/join/kafka_link.py",
        "streams/labelled_log.py",
        "streams/formats/ndjson.py",
    },
}


def modules() -> list[Path]:
    """Every module of the four rooms."""
    return sorted(path for room in MAY_IMPORT for path in (ROOT / room).glob("**/*.py"))


def imports(path: Path) -> Iterator[str]:
    """The dotted names `path` imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_module_imports_only_what_its_room_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[room] - {room}
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in forbidden, f"{path}: {room} must not import {name}"
        assert top != "tests", f"{path}: imports tests"
        places = ONLY_IN.get(top)
        here = str(path.relative_to(ROOT))
        assert places is None or here in places, f"{here}: {top} belongs in {places}"


def test_every_single_home_is_lived_in() -> None:
    """A stale entry of ONLY_IN would guard nothing."""
    used = {
        (name.split(".")[0], str(p.relative_to(ROOT))) for p in modules() for name in imports(p)
    }
    for name, places in ONLY_IN.items():
        for place in places:
            assert (name, place) in used, f"{place} does not import {name}"


def test_every_room_has_a_sign() -> None:
    for room in MAY_IMPORT:
        sign = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
        assert sign, f"{room}/__init__.py says nothing"
        assert len(sign) > 100, f"{room}/__init__.py says nothing of the flow"


def test_every_public_thing_says_what_it_is() -> None:
    silent = []
    for path in modules():
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            silent.append(str(path))
        scopes: list[ast.Module | ast.ClassDef] = [tree]
        while scopes:
            for node in scopes.pop().body:
                if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                    continue
                if node.name.startswith("_"):
                    continue
                overload = any(getattr(d, "id", "") == "overload" for d in node.decorator_list)
                if not ast.get_docstring(node) and not overload:
                    silent.append(f"{path}:{node.lineno} {node.name}")
                if isinstance(node, ast.ClassDef):
                    scopes.append(node)
    assert silent == []
