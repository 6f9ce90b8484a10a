"""The rooms keep to themselves: who may import whom, what each folder holds and shows to others.

`make rooms` prints the picture: each folder, its modules, what it may import, and what a score
loads.
"""

import ast
import re
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
# Inside a room a folder, or a module beside the folders, may import only what stands before it; a
# "*" is all modules beside the folders.
ORDER = {
    "streams": [
        "compute",
        "*",
        "formats",
        "files",
        "kafka",
        "kafka.consume",
        "kafka.produce",
        "simulator",
    ],
    "joiner": ["settings", "core", "protocol", "agent"],
    "ftrl": [
        "settings",
        "cut",
        "logistic",
        "table",
        "admission",
        "kernels",
        "eviction",
        "stats",
        "state",
        "learner",
        "features",
        "evaluation",
        "training",
        "serving",
        "labelled_reader",
        "agent",
    ],
    "deploy": [
        "settings",
        "compatibility",
        "console",
        "storage",
        "serving",
        "report.charts",
        "report",
        "replay",
        "workers",
        "workers.join",
        "workers.learn",
        "simulation",
        "demo",
        "bench",
        "cli",
        "__main__",
    ],
}
MOST_MODULES = 15
MOST_TEST_MODULES = 25
MOST_PUBLIC_NAMES = 15
# Each of these is known to few modules, so that it can be replaced, or proven right, in one place.
ONLY_IN = {
    "rocksdict": {"deploy/storage/rocksdb.py"},
    "numba": {"streams/compute/intrinsics.py", "streams/compute/jit.py"},
    "llvmlite": {"streams/compute/intrinsics.py"},
    "plotly": {
        "deploy/report/charts/counts.py",
        "deploy/report/charts/quality.py",
        "deploy/report/charts/style.py",
        "deploy/report/charts/truth.py",
        "deploy/report/report.py",
    },
    "faust": {
        "deploy/bench/ingest_worker.py",
        "joiner/agent.py",
        "ftrl/agent.py",
        "streams/kafka/consume/app.py",
        "streams/kafka/consume/consumer_thread.py",
        "streams/kafka/consume/exclusive_assignor.py",
        "streams/kafka/consume/transport.py",
        "streams/kafka/security.py",
    },
    "aiokafka": {
        "streams/kafka/consume/app.py",
        "streams/kafka/consume/consumer_thread.py",
        "streams/kafka/consume/range_reader.py",
    },
    "kafka": {
        "deploy/bench/ingest.py",
        "streams/kafka/client_errors.py",
        "streams/kafka/consume/labelled_topic.py",
        "streams/kafka/produce/in_flight.py",
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
        "deploy/workers/join/kafka_port.py",
        "streams/formats/ndjson.py",
        "streams/labelled_log.py",
    },
}
OUTSIDE = ("clickloop", "benchmarks", "tests")  # may import whatever a sign shows, and more
# Pure rooms: of their modules only the agent may know of Kafka, of Faust or of a store.
PURE = {"joiner", "ftrl"}
NEVER_IN_PURE = {"kafka", "aiokafka", "faust", "mode", "rocksdict", "aiohttp"}


def modules() -> list[Path]:
    """Every module of the four rooms."""
    return sorted(path for room in MAY_IMPORT for path in (ROOT / room).glob("**/*.py"))


def folders(*tops: str) -> list[Path]:
    """Every folder with modules below `tops`."""
    found = {path.parent for top in tops for path in (ROOT / top).glob("**/*.py")}
    return sorted(found)


def named(path: Path) -> str:
    """The path within the checkout, for ids and messages."""
    return str(path.relative_to(ROOT))


def dotted(path: Path) -> str:
    """The module's name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What `path` imports, wherever in the file: each module, and the names taken from it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module), tuple(alias.name for alias in node.names)


def is_package(name: str) -> bool:
    """Whether the dotted name is a folder's."""
    return ROOT.joinpath(*name.split(".")).is_dir()


def is_module(name: str) -> bool:
    """Whether the dotted name is a module or a folder of modules."""
    return is_package(name) or ROOT.joinpath(*name.split(".")).with_suffix(".py").exists()


def imported_modules(path: Path) -> Iterator[str]:
    """The dotted names of the modules `path` imports; of a folder's public name its own module."""
    for source, names in imports(path):
        if not is_package(source):
            yield source
            continue
        shown = public(source)
        for name in names:
            yield f"{source}.{name}" if is_module(f"{source}.{name}") else shown.get(name, source)


def public(package: str) -> dict[str, str]:
    """The names that the sign of a folder shows to others, each with the module it is in."""
    folder = ROOT.joinpath(*package.split("."))
    stub = folder / "__init__.pyi"
    if stub.exists():
        return {
            alias.name: f"{package}.{node.module}" if node.module else f"{package}.{alias.name}"
            for node in ast.walk(ast.parse(stub.read_text()))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
    for node in ast.parse((folder / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {name: f"{package}.{name}" for name in ast.literal_eval(node.value)}
    return {}


def entry_of(module: str) -> int:
    """The place of a module of a room in the order of the room."""
    room, *rest = module.split(".")
    order = ORDER[room]
    for end in range(len(rest), 0, -1):
        if ".".join(rest[:end]) in order:
            return order.index(".".join(rest[:end]))
    assert "*" in order, f"{module} has no place in the order of {room}"
    return order.index("*")


@pytest.mark.parametrize("path", modules(), ids=named)
def test_module_imports_only_what_its_room_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[room] - {room}
    for name, _ in imports(path):
        top = name.split(".")[0]
        assert top not in forbidden, f"{path}: {room} must not import {name}"
        assert top not in ("tests", "benchmarks", "clickloop"), f"{path}: imports {name}"
        homes = ONLY_IN.get(top)
        assert homes is None or named(path) in homes, f"{named(path)}: {top} belongs in {homes}"
        if room in PURE and path.name != "agent.py":
            assert top not in NEVER_IN_PURE, f"{named(path)}: {room} is pure, {name} is not"
            assert not name.startswith("streams.kafka"), f"{named(path)}: {room} is pure"


@pytest.mark.parametrize("path", modules(), ids=named)
def test_module_imports_only_what_stands_before_it(path: Path) -> None:
    module = dotted(path)
    room = module.split(".")[0]
    if path.name == "__init__.py":
        return  # A sign names what it shows and imports nothing before it is asked.
    for name in imported_modules(path):
        if name.split(".")[0] == room:
            assert entry_of(name) <= entry_of(module), (
                f"{named(path)}: {name} comes later in the order of {room}: {ORDER[room]}"
            )


@pytest.mark.parametrize("path", modules(), ids=named)
def test_module_imports_of_other_rooms_only_what_their_signs_show(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for source, names in imports(path):
        top = source.split(".")[0]
        if top == room or top not in MAY_IMPORT:
            continue
        if is_package(source):
            hidden = set(names) - public(source).keys()
        else:
            package, _, module = source.rpartition(".")
            hidden = set() if public(package).get(module) == source else set(names)
        assert not hidden, f"{named(path)}: {source} does not show {sorted(hidden)} to other rooms"


@pytest.mark.parametrize("folder", folders(*MAY_IMPORT), ids=named)
def test_every_public_name_is_there(folder: Path) -> None:
    for name, module in public(dotted(folder)).items():
        path = ROOT.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name == module.rpartition(".")[2]:
            assert path.exists(), f"{named(folder)}: no module {name}"
            continue
        tree = ast.parse(path.read_text())
        defined = {node.name for node in tree.body if hasattr(node, "name")}
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            defined |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        assert name in defined, f"{module} has no {name}, which {named(folder)} shows"


def test_a_room_shows_only_what_another_room_uses() -> None:
    """A public name that nobody outside uses is not public: `clickloop` is the face for users."""
    every = [*modules(), *(p for top in OUTSIDE for p in (ROOT / top).glob("**/*.py"))]
    texts = [(path.relative_to(ROOT).parts[0], path.read_text()) for path in every]
    for folder in folders("streams", "joiner", "ftrl"):
        package = dotted(folder)
        room = package.split(".")[0]
        elsewhere = "\n".join(text for top, text in texts if top != room)
        idle = {n for n in public(package) if not re.search(rf"\b{n}\b", elsewhere)}
        assert not idle, f"{package} shows {sorted(idle)}, which no other room uses"


@pytest.mark.parametrize("folder", folders(*MAY_IMPORT), ids=named)
def test_a_sign_shows_few_names(folder: Path) -> None:
    assert len(public(dotted(folder))) <= MOST_PUBLIC_NAMES


def test_no_folder_is_crowded() -> None:
    bounds = dict.fromkeys(folders(*MAY_IMPORT, "benchmarks"), MOST_MODULES)
    bounds |= dict.fromkeys(folders("tests"), MOST_TEST_MODULES)
    for folder, most in bounds.items():
        count = sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        assert count <= most, f"{named(folder)} holds {count} modules, at most {most} may be"


@pytest.mark.parametrize("folder", folders(*MAY_IMPORT, "benchmarks"), ids=named)
def test_the_sign_of_a_folder_names_every_module_and_no_other(folder: Path) -> None:
    sign = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    listed = re.findall(r"^- `(\w+)`", sign, re.MULTILINE)
    held = {path.stem for path in folder.glob("*.py") if path.name != "__init__.py"}
    held |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert sorted(listed) == sorted(held), f"{named(folder)}/__init__.py"


def test_every_single_home_is_lived_in() -> None:
    """A stale entry of ONLY_IN would guard nothing."""
    used = {(name.split(".")[0], named(p)) for p in modules() for name, _ in imports(p)}
    for name, homes in ONLY_IN.items():
        for home in homes:
            assert (name, home) in used, f"{home} does not import {name}"


def test_every_place_in_the_order_is_there() -> None:
    for room, order in ORDER.items():
        for entry in order:
            assert entry == "*" or is_module(f"{room}.{entry}"), f"{room}: no {entry}"


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


def _rank(package: str) -> int:
    room, _, inner = package.partition(".")
    return ORDER[room].index(inner) if inner else -1


def picture() -> str:
    """Each folder of the rooms, its modules, what it shows to other rooms and may import."""
    lines = []
    for room, others in MAY_IMPORT.items():
        for folder in sorted(folders(room), key=lambda f: _rank(dotted(f))):
            package = dotted(folder)
            inner = package.partition(".")[2]
            held = sorted(p.stem for p in folder.glob("*.py") if p.name != "__init__.py")
            lines.append(f"{named(folder)}/  ({len(held)} modules): {' '.join(held)}")
            if inner:
                before = ORDER[room][: ORDER[room].index(inner)]
                own = [f"{room}.{entry}" if entry != "*" else room for entry in before]
                lines.append(
                    f"    may import {', '.join([*sorted(others), *own]) or 'nothing of ours'}"
                )
            else:
                lines.append(
                    f"    the room may import {', '.join(sorted(others)) or 'nothing of ours'}"
                )
            if shown := public(package):
                lines.append(f"    shows to other rooms {', '.join(sorted(shown))}")
    return "\n".join(lines)


def test_the_rooms() -> None:
    print("\n" + picture())
