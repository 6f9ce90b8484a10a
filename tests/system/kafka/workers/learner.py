"""The learn worker as `clickloop worker learn` runs it, with places where a test can kill it.

Usage: python -m tests.system.kafka.workers.learner ADDRESS OPTIONS, where OPTIONS is the JSON of a
`Learns`.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import settings
from deploy.storage import checkpoint_store
from deploy.storage.rocksdb import Store
from deploy.workers.learn.command import learn
from deploy.workers.learn.online_trainer import OnlineTrainer
from streams.errors import ClickloopError
from tests.system.kafka.workers.hurt import Step, hurt


def _writes(prefix: bytes) -> Callable[..., bool]:
    return lambda puts, *_: any(key.startswith(prefix) for key in puts)


# The steps of a save, in their order, and that of learning from a message.
STEPS = {
    "state": Step(OnlineTrainer, "save"),
    "page": Step(Store, "write", _writes(b"training/slots/")),
    "list": Step(Store, "write", _writes(b"training/blob/touched-")),
    "array": Step(Store, "write", _writes(b"training/blob/")),
    "commit": Step(Store, "write", _writes(b"training/commit")),
    "committed": Step(Store, "write", _writes(b"training/commit"), after=True),
    "version": Step(Store, "write", _writes(b"manifest/")),
    "published": Step(Store, "write", _writes(b"manifest/"), after=True),
    "learned": Step(OnlineTrainer, "take", after=True),
}
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
    hurt: str | None = None  # one of STEPS, as `hurt` says
    slow_s: float = 0.0  # for each message, after the first one
    session_timeout: float = 6.0


def main(address: str, options: str) -> None:
    """Run the worker."""
    learns = Learns(**json.loads(options))
    checkpoint_store.PAGE_SLOTS = 64  # so that small tables have many pages
    if learns.audit is not None:
        _audit(Path(learns.audit))
    if learns.hurt is not None:
        hurt(STEPS, learns.hurt)
    if learns.slow_s:
        _slow_down(learns.slow_s)
    os.environ["CLICKLOOP_KAFKA__BOOTSTRAP_SERVERS"] = address
    os.environ["CLICKLOOP_KAFKA__GROUP_PREFIX"] = learns.group
    os.environ["CLICKLOOP_KAFKA__SESSION_TIMEOUT"] = f"{learns.session_timeout:g}s"
    os.environ["CLICKLOOP_TOPICS__LABELLED"] = learns.topic
    source = None if learns.source is None else Path(learns.source)
    try:
        loaded = settings.load(Path(learns.config))
        learn(loaded, Path(learns.store), source)
    except ClickloopError as error:
        print(f"clickloop: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _audit(path: Path) -> None:
    """Write down every example that is learned from, and forget those that a restart forgets."""
    begin, learn_batch = OnlineTrainer.__init__, OnlineTrainer._learn

    def beginning(self: OnlineTrainer, *args: Any) -> None:
        begin(self, *args)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(lines[: self.training.cut.examples]))

    def learning(self: OnlineTrainer, batch: Any, partition: int, where: str) -> None:
        rows = zip(*(batch.column(name).to_pylist() for name in AUDITED), strict=True)
        with path.open("a") as file:
            file.writelines(json.dumps([partition, *row]) + "\n" for row in rows)
        learn_batch(self, batch, partition, where)

    _replace(OnlineTrainer, "__init__", beginning)
    _replace(OnlineTrainer, "_learn", learning)


def _slow_down(seconds: float) -> None:
    method, taken = OnlineTrainer.take, [0]

    def slowly(*args: Any) -> None:
        time.sleep(seconds if taken[0] else 0)
        taken[0] += 1
        method(*args)

    _replace(OnlineTrainer, "take", slowly)


def _replace(owner: Any, name: str, method: Any) -> None:
    setattr(owner, name, method)


if __name__ == "__main__":
    main(*sys.argv[1:])
