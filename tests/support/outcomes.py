"""All of a run that must be the same, whatever happened on the way."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from deploy.replay.replay import DEAD_LETTERS, EXAMPLES, LATE_CLICKS, STORE
from deploy.storage.checkpoint import AGES
from deploy.storage.checkpoint_store import CheckpointStore, Saved
from deploy.storage.rocksdb import Store
from ftrl.table.layout import LAYOUTS, columns

_OF_THIS_RUN = ("settings", "seconds", "compiling_s", "outputs", "inputs")


def outcome(out: Path) -> dict[str, Any]:
    """Rows, weights byte for byte, metrics but for throughput, letters, versions, and state."""
    metrics = json.loads((out / "metrics.json").read_text())
    layout = metrics["run"]["config"]["learner"]["layout"]
    for name in ("throughput", "run"):
        del metrics[name]
    with Store(out / STORE, read_only=True) as store:
        saved = CheckpointStore(store).last(LAYOUTS[layout])
        assert saved is not None
        versions = {
            key: store.get(key)
            for part in (b"manifest/", b"groups/", b"keys/", b"weights/", b"gone/")
            for key in store.keys(part)
        }
    assert not list(out.glob("**/*.partial"))
    return {
        "metrics": metrics,
        "examples": pq.read_table(out / EXAMPLES).to_pylist(),
        "letters": (out / DEAD_LETTERS).read_bytes(),
        "late": (out / LATE_CLICKS).read_bytes(),
        "weights": weights_of(saved),
        "values": {k: v for k, v in saved.values.items() if k not in _OF_THIS_RUN},
        "arrays": arrays_of(saved),
        "versions": versions,
    }


def weights_of(saved: Saved) -> list[bytes]:
    """What the table holds, by key: keys, z, n and when each was last seen."""
    with np.load(io.BytesIO(saved.arrays[AGES])) as file:
        return [column.tobytes() for column in columns(saved.slots, file["ages"])]


def arrays_of(saved: Saved) -> dict[str, bytes]:
    """The other arrays: all but the one that lies beside the slots."""
    return {name: array for name, array in saved.arrays.items() if name != AGES}
