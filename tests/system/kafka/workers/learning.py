"""A learn worker under a test's thumb, and what it leaves in its store."""

import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from deploy.storage.checkpoint_store import CheckpointStore
from deploy.storage.rocksdb import Store
from ftrl.table.layout import LAYOUTS
from tests.support.outcomes import arrays_of, weights_of
from tests.support.waiting import eventually
from tests.system.kafka.workers.child import Child

ANY = "127.0.0.1:0"


class LearnProcess(Child):
    """A `learner`, killed at the end of the `with` block."""

    def __init__(self, address: str, folder: Path, **options: Any) -> None:
        """options: of `Learns`; `store` and `audit` are in `folder` unless told otherwise."""
        self.audit = folder / "audit"
        options = {"store": str(folder / "store"), "audit": str(self.audit), **options}
        super().__init__(
            "tests.system.kafka.workers.learner",
            address,
            json.dumps(options),
            log=folder / f"output-{time.monotonic_ns()}",
            CLICKLOOP_WORKER__LEARN_HTTP=ANY,
        )

    def __enter__(self) -> "LearnProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def get(self, path: str) -> tuple[int, str]:
        """The status and text of an HTTP answer; 0 while there is none."""
        found = re.search(r"http://(\S+)", self.said)
        return (0, "") if found is None else answer(f"http://{found[1]}{path}")

    def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels."""
        lines = self.get("/metrics")[1].splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def until_ready(self, patience: float = 40.0) -> None:
        """Wait until it has caught up."""

        def ready() -> bool:
            assert self.process.poll() is None, self.said
            return self.get("/readyz")[0] == 200

        eventually(ready, patience)

    def until_waiting_for(self, words: str, patience: float = 40.0) -> None:
        """Wait until it says why it is not ready, with these words."""
        eventually(lambda: words in self.get("/readyz")[1], patience)

    def until_more_than(self, examples: int) -> None:
        """Wait until it has learned from more."""
        eventually(lambda: len(self.trained()) > examples)

    def trained(self) -> list[list[Any]]:
        """The examples that it, and those before it, learned from and did not forget again."""
        text = self.audit.read_text() if self.audit.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # its last line may be half written
        return [json.loads(line) for line in whole.splitlines()]


def answer(url: str) -> tuple[int, str]:
    """The status and text of an HTTP answer; 0 if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=10) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def state(store: Path) -> dict[str, Any]:
    """All that must be the same whatever happened on the way: weights byte for byte, and more."""
    with Store(store, read_only=True) as opened:
        checkpoints = CheckpointStore(opened)
        assert checkpoints.values is not None
        saved = checkpoints.last(LAYOUTS[checkpoints.values["settings"]["learner"]["layout"]])
        assert saved is not None
        versions = {key: opened.get(key) for key in opened.keys(b"manifest/")}
    return {
        "weights": weights_of(saved),
        "values": {k: v for k, v in saved.values.items() if k != "settings"},
        "arrays": arrays_of(saved),
        "versions": versions,
    }
