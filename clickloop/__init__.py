"""The public face: the names that services import from clickloop.

    from clickloop import ImpressionProducer, Scorer, read_labelled

A name loads what it needs when it is first asked for, and no more; to import clickloop loads
nothing. The stub beside this file says where each name comes from, to type checkers and to this
module alike. docs/library.md has examples.
"""

import ast
from importlib import import_module
from pathlib import Path

# `lazy_loader.attach_stub` does the same for names from inside a package; these come from outside.
_HOMES = {
    alias.name: node.module
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module
    for alias in node.names
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found  # from now on without this function
    return found


def __dir__() -> list[str]:
    return __all__
