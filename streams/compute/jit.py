"""The one way kernels are compiled: Numba with the options that a reproducible run needs."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import config, njit
from numba.core import event

P = ParamSpec("P")
R = TypeVar("R")

KERNEL_ROOMS = ("streams", "joiner", "ftrl")


def cache_folder(root: Path) -> Path:
    """The folder of the kernels compiled from exactly this source; root: where the rooms are.

    Numba notices a change of a kernel's own file, but not of a kernel in another file that the
    first one calls. A digest over all files of the rooms, sub-packages included, notices both.
    """
    digest = hashlib.blake2b(digest_size=8)
    for room in KERNEL_ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return Path.home() / ".cache" / "clickloop" / f"kernels-{digest.hexdigest()}"


if not config.CACHE_DIR:
    config.CACHE_DIR = str(cache_folder(Path(__file__).resolve().parents[2]))

_compiling = event.TimingListener()
event.register("numba:compile", _compiling)


def compiling_s() -> float:
    """How long this process has compiled kernels so far, in seconds; loading them takes none."""
    return float(_compiling.duration) if _compiling.done else 0.0


_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with Numba: cached on disk, the GIL released, IEEE arithmetic.

    No fastmath: a run must give the same bytes whatever the batch size. A kernel cannot make arrays
    (see `allocating`), so Numba need not count the references to its arguments: the counting took a
    tenth of the learner's time. With `NUMBA_DISABLE_JIT=1` the function stays plain Python, so that
    tests can cover it.
    """
    return cast(Callable[P, R], njit(**_OPTIONS, _nrt=False)(function))


def allocating(function: Callable[P, R]) -> Callable[P, R]:
    """A `kernel` that may make arrays."""
    return cast(Callable[P, R], njit(**_OPTIONS)(function))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """A `kernel` that becomes part of those that call it: a call with arrays costs 10 to 20 ns."""
    return cast(Callable[P, R], njit(**_OPTIONS, _nrt=False, forceinline=True)(function))
