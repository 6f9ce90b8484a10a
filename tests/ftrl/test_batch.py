"""What the learner is handed: refused when wrong, weighed, and read wherever it lies."""

from dataclasses import replace

import numpy as np
import pytest

from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from tests.oracles.ftrl import Row
from tests.support.learning import arrays, learn, random_rows

pytestmark = pytest.mark.kernel

OFF = AdmissionSettings()


def test_weights_of_examples() -> None:
    """ω is ω₀ for positives and corrections, ω₀/r for sampled negatives."""
    rows = [
        Row((), 1, weight=3, rate=0.5),
        Row((), 0, weight=3, rate=0.5),
        Row((), 0, weight=3),
        Row((), 1, weight=3, rate=0.5, correction=True),
        Row((), 0, weight=3, rate=0.5, correction=True),
    ]
    assert learn(Learner(LearnerSettings(), OFF), rows).omega.tolist() == [3, 6, 3, 3, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indptr": np.array([0, 1])}, "indptr has 2 entries; 2 rows need 3"),
        ({"indptr": np.array([0, 2, 1])}, "indptr must ascend"),
        ({"indptr": np.array([0, 1, 3])}, "indptr must ascend within 0 and 2"),
        ({"keys": np.array([1, 0], np.uint64)}, "a key is 0"),
        ({"values": np.array([1.0])}, "1 values for 2 keys"),
        ({"values": np.array([1.0, np.nan])}, "not a finite number"),
        ({"label": np.array([0, 2], np.int8)}, "label of row 1 is 2"),
        ({"offset": np.array([0.0])}, "offset has 1 entries for 2 labels"),
        ({"offset": np.array([0.0, np.inf])}, "offset of row 1 is inf"),
        ({"weight": np.array([-1.0, 1.0])}, r"weight of row 0 is -1\.0"),
        ({"rate": np.array([1.0, 0.0])}, r"rate of row 1 is 0\.0"),
        ({"kind": np.array([0, 7], np.int8)}, "kind of row 1 is 7"),
    ],
)
def test_wrong_arrays_are_refused(changes: dict[str, object], message: str) -> None:
    learner = Learner(LearnerSettings(), OFF)
    good = arrays([Row(((1, 1.0),)), Row(((2, 1.0),))])
    good.update(changes)  # type: ignore[typeddict-item]  # wrong on purpose
    with pytest.raises(ValueError, match=message):
        learner.learn(**good)
    assert learner.stats().examples == 0


def test_arguments_may_be_read_only_slices() -> None:
    """As Arrow hands them out: not writable, and indptr not from 0."""
    plain = random_rows(20, fields=3, features=30, seed=5)
    rows = [replace(row, thresholds=(1,) * len(row.coordinates)) for row in plain]
    whole, sliced = (Learner(LearnerSettings(), OFF) for _ in range(2))
    expected = learn(whole, rows[5:]).logit
    given_ = arrays(rows)
    given_["indptr"] = given_["indptr"][5:]
    for name in ("label", "offset", "weight", "rate", "kind", "kept", "place", "ts"):
        given_[name] = given_[name][5:]
    for array in (np.asarray(column) for column in given_.values()):
        array.flags.writeable = False
    assert sliced.learn(**given_).logit.tobytes() == expected.tobytes()
