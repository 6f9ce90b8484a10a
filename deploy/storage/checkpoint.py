"""Training checkpoints: all that training must remember, as values and arrays, and back again."""

import io
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from deploy.storage.checkpoint_store import Encode, Saved
from ftrl import Cut, Learner, Training, columns_state
from ftrl.features import FeatureConfig, change
from ftrl.table import NO_AGES

_LEARNER_ARRAYS = ("filters", "seen")
AGES = "learner-ages"


def training_state(training: Training) -> tuple[dict[str, Any], dict[str, Encode]]:
    """What `training` must remember but for the learner's table: plain JSON, and arrays by name.

    Copied, so that training may go on while they are encoded.
    """
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


def _npz(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _arrays(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
