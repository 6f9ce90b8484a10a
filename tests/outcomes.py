"""All of a run that must be the same, whatever happened on the way."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deploy.pages import Kept
from deploy.replay import DEAD_LETTERS, EXAMPLES, LATE_CLICKS, STORE
from deploy.store import Store
from ftrl.table import LAYOUTS

_OF_THIS_RUN = ("settings", "seconds", "outputs", "inputs")


def outcome(out: Path) -> dict[str, Any]:
    """Rows, weights byte for byte, metrics but for throughput, letters, versions, and state."""
    metrics = json.loads((out / "metrics.json").read_text())
    layout = metrics["run"]["config"]["learner"]["layout"]
    for name in ("throughput", "run"):
        del metrics[name]
    with Store(out / STORE, read_only=True) as store:
        saved = Kept(store).last(LAYOUTS[layout])
        assert saved is not None
        used = saved.slots[saved.slots["key"] != 0]
        order = used["key"].argsort()
        versions = {
            key: store.get(key)
            for part in (b"manifest/", b"groups/", b"keys/", b"weights/")
            for key in store.keys(part)
        }
    assert not list(out.glob("**/*.partial"))
    return {
        "metrics": metrics,
        "examples": pq.read_table(out / EXAMPLES).to_pylist(),
        "letters": (out / DEAD_LETTERS).read_bytes(),
        "late": (out / LATE_CLICKS).read_bytes(),
        "weights": [used[name][order].tobytes() for name in used.dtype.names or ()],
        "values": {k: v for k, v in saved.values.items() if k not in _OF_THIS_RUN},
        "arrays": saved.arrays,
        "versions": versions,
    }
