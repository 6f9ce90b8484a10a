"""How a test hurts a worker at a numbered step: it dies, or falls asleep, or its disk is full."""

import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any


def _every_call(*_: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a method that is about to happen, or (after) has just happened.

    counts: whether a call with these arguments, but for self, is one.
    """

    owner: Any
    method: str
    counts: Callable[..., bool] = _every_call
    after: bool = False


def hurt(steps: Mapping[str, Step], told: str) -> None:
    """Hurt this process: `step:n` is death at that step for the n-th time; `step:n:sleep` is sleep
    until SIGCONT, `step:n:full` a disk without room as long as that call lasts.
    """
    name, number, *how = told.split(":")
    step, left = steps[name], [int(number)]
    blow = signal.SIGSTOP if how == ["sleep"] else signal.SIGKILL
    method: Callable[..., Any] = getattr(step.owner, step.method)

    @contextmanager
    def struck(arguments: tuple[Any, ...]) -> Iterator[None]:
        left[0] -= step.counts(*arguments[1:])
        if left[0] != 0 or not step.counts(*arguments[1:]):
            yield
        elif how == ["full"]:
            with _full_disk():
                yield
        elif step.after:
            yield
            os.kill(os.getpid(), blow)
        else:
            os.kill(os.getpid(), blow)
            yield

    def hurting(*arguments: Any, **named: Any) -> Any:
        with struck(arguments):
            return method(*arguments, **named)

    async def hurting_slowly(*arguments: Any, **named: Any) -> Any:
        with struck(arguments):
            return await method(*arguments, **named)

    setattr(step.owner, step.method, hurting_slowly if iscoroutinefunction(method) else hurting)


@contextmanager
def _full_disk() -> Iterator[None]:
    """No file can be written to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
