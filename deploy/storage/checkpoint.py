"""Training checkpoints: all that a loop must remember, as values and arrays, and back again."""

import io
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa

from deploy.replay.pipeline import Loop
from deploy.storage.checkpoint_store import Encode, Saved
from ftrl.features.compatibility import change
from ftrl.features.config import FeatureConfig
from ftrl.learner import Learner
from ftrl.state import columns_state
from ftrl.table.layout import NO_AGES
from ftrl.training import Cut, Training
from joiner import Joiner, JoinState
from streams.compute.arrays import I64

_LEARNER_ARRAYS = ("filters", "seen")
AGES = "learner-ages"
_PLACE_COLUMNS = ["src_offset", "src_row"]


def state_of(loop: Loop) -> tuple[dict[str, Any], dict[str, Encode]]:
    """What `loop` must remember but for the learner's table: plain JSON, and arrays by name.

    Copied, so the loop may go on while they are encoded. The rows of pending impressions are in
    the log already: their places are enough.
    """
    join = loop.joiner.state()
    values, arrays = training_state(loop)
    values["join"] = join["plain"]
    arrays |= {
        "join-known": partial(_ipc, [join["known"]]),
        "join-waiting": partial(_ipc, [join["waiting"]]),
        "join-places": partial(_ipc, [rows.select(_PLACE_COLUMNS) for rows in join["rows"]]),
    }
    return values, arrays


def training_state(training: Training) -> tuple[dict[str, Any], dict[str, Encode]]:
    """The same of `training`."""
    learner = training.learner.state_without_table()
    values = {
        "features": training.features.state(),
        "learner": {k: v for k, v in learner.items() if k not in _LEARNER_ARRAYS},
        "cut": [training.cut.examples, training.cut.ts, training.cut.place],
        "next_mark": training.next_mark,
    }
    arrays: dict[str, Encode] = {"evaluation": partial(_npz, training.evaluation.state())}
    for name in _LEARNER_ARRAYS:
        arrays[f"learner-{name}"] = partial(_npz, {name: learner[name]})
    arrays[AGES] = partial(_npz, {"ages": training.learner.ages.copy()})
    if training.corrected is not None:
        arrays["corrected"] = partial(_npz, training.corrected.state())
    return values, arrays


def pending_places(saved: Saved) -> tuple[I64, I64]:
    """File and row, int64, ascending, of each impression whose row the joiner still needs."""
    batches = _batches(saved.arrays["join-places"])
    if not batches:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    table = pa.Table.from_batches(batches)
    return table["src_offset"].to_numpy(), table["src_row"].to_numpy()


def restore(loop: Loop, saved: Saved, rows: list[pa.RecordBatch]) -> None:
    """Make a fresh `loop` the one that was saved.

    rows: those at `pending_places`, in order, read again. Raises ValueError where the settings
    of the parts differ from those they were saved with.
    """
    values, arrays, settings = saved.values, saved.arrays, loop.run_settings
    loop.joiner = Joiner.restore(
        settings.events,
        settings.join,
        settings.sampling,
        JoinState(
            known=_batches(arrays["join-known"])[0],
            waiting=_batches(arrays["join-waiting"])[0],
            rows=rows,
            plain=values["join"],
        ),
        loop.spill,
    )
    restore_training(loop, saved)


def restore_training(training: Training, saved: Saved) -> None:
    """Make a fresh `training` the one that was saved. Raises ValueError as `restore` does."""
    restore_model(training, saved)
    training.evaluation.restore(_arrays(saved.arrays["evaluation"]))
    if training.corrected is not None:
        training.corrected.restore(_arrays(saved.arrays["corrected"]))
    examples, ts, place = saved.values["cut"]
    training.cut = Cut(examples, ts, None if place is None else (place[0], place[1]))
    training.next_mark = saved.values["next_mark"]


def restore_model(training: Training, saved: Saved) -> None:
    """Give a fresh `training` the model that was saved, and nothing that was measured of it.

    Raises ValueError where the features differ, ConfigError where the table cannot hold it.
    """
    settings = training.settings
    before = FeatureConfig.model_validate(saved.values["settings"]["features"])
    names = change(before, settings.features).names
    learned = saved.values["features"]
    training.features.restore({names.get(name, name): found for name, found in learned.items()})
    older = AGES not in saved.arrays  # of a version that knew of no eviction
    ages = NO_AGES if older else _arrays(saved.arrays[AGES])["ages"]
    learner = saved.values["learner"] | columns_state(saved.slots, ages)
    for name in _LEARNER_ARRAYS:
        learner |= _arrays(saved.arrays[f"learner-{name}"])
    training.learner = Learner.restore(settings.learner, settings.admission, learner)


def _ipc(batches: list[pa.RecordBatch]) -> bytes:
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    return cast(bytes, sink.getvalue().to_pybytes())


def _batches(data: bytes) -> list[pa.RecordBatch]:
    return list(pa.ipc.open_stream(data)) if data else []


def _npz(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _arrays(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
