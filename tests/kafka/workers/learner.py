"""The learn worker as `clickloop worker learn` runs it, with places where a test can kill it.

Usage: python -m tests.kafka.workers.learner ADDRESS OPTIONS, where OPTIONS is the JSON of a
`Learns`.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy import pages, settings
from deploy.learning import Learning
from deploy.store import Store
from deploy.training import Training
from deploy.worker_learn import learn, where
from streams.errors import ClickloopError

# The steps of a save, in their order: what is about to happen when the process dies. The value is
# the prefix of the key that the store is about to write; b"" where nothing is written.
STEPS = {
    "state": b"",
    "page": b"training/slots/",
    "list": b"training/blob/touched-",
    "array": b"training/blob/",
    "commit": b"training/commit",
    "committed": b"training/commit",
    "version": b"manifest/",
    "published": b"manifest/",
    "learned": b"",
}
AFTER = ("committed", "published", "learned")
AUDITED = ("src_offset", "src_row", "kind", "label", "impression_id")


@dataclass(frozen=True, slots=True)
class Learns:
    """What the worker learns, and how it is hurt."""

    config: str
    topic: str
    group: str
    store: str
    source: str | None = None
    audit: str | None = None  # a file with a line for each example in the training state
    die: str | None = None  # `step:n`: before that step for the n-th time
    slow_s: float = 0.0  # for each message, after the first one
    session_timeout: float = 6.0


def main(address: str, options: str) -> None:
    """Run the worker."""
    learns = Learns(**json.loads(options))
    pages.PAGE_SLOTS = 64  # so that small tables have many pages
    if learns.audit is not None:
        _audit(Path(learns.audit))
    if learns.die is not None:
        step, _, number = learns.die.partition(":")
        _die_at(step, int(number))
    if learns.slow_s:
        _slow_down(learns.slow_s)
    os.environ["CLICKLOOP_KAFKA__BOOTSTRAP_SERVERS"] = address
    os.environ["CLICKLOOP_KAFKA__GROUP_PREFIX"] = learns.group
    os.environ["CLICKLOOP_TOPICS__LABELLED"] = learns.topic
    source = None if learns.source is None else Path(learns.source)
    try:
        loaded = settings.load(Path(learns.config))
        told = replace(where(loaded), session_timeout=learns.session_timeout)
        learn(loaded, told, Path(learns.store), source)
    except ClickloopError as error:
        print(f"clickloop: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _audit(path: Path) -> None:
    """Write down every example that is learned from, and forget those that a restart forgets."""
    begin, learn_batch = Learning.__init__, Training._learn

    def beginning(self: Learning, *args: Any) -> None:
        begin(self, *args)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(lines[: self.training.cut.examples]))

    def learning(self: Training, batch: Any, partition: int | None) -> Any:
        rows = zip(*(batch.column(name).to_pylist() for name in AUDITED), strict=True)
        with path.open("a") as file:
            file.writelines(json.dumps([partition, *row]) + "\n" for row in rows)
        return learn_batch(self, batch, partition)

    _replace(Learning, "__init__", beginning)
    _replace(Training, "_learn", learning)


def _die_at(step: str, number: int) -> None:
    """Die before `step` happens for the `number`-th time, or after it: see AFTER."""
    left = [number]
    owner: Any = {"state": Learning, "learned": Learning}.get(step, Store)
    name = {"state": "save", "learned": "take"}.get(step, "write")
    method: Callable[..., Any] = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        mine = not STEPS[step] or any(key.startswith(STEPS[step]) for key in args[1])
        left[0] -= mine
        if mine and left[0] == 0 and step not in AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if mine and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    _replace(owner, name, dying)


def _slow_down(seconds: float) -> None:
    method, taken = Learning.take, [0]

    def slowly(*args: Any) -> None:
        time.sleep(seconds if taken[0] else 0)
        taken[0] += 1
        method(*args)

    _replace(Learning, "take", slowly)


def _replace(owner: Any, name: str, method: Any) -> None:
    setattr(owner, name, method)


if __name__ == "__main__":
    main(*sys.argv[1:])
