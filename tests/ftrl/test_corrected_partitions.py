"""Places, roundings and remembered logits where examples come through several partitions."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrl.evaluation.corrected import Corrected
from joiner import JoinSettings
from streams.errors import DataError
from streams.position import packed_positions, rounding_seeds
from streams.schema import EventSchema

SCHEMA = EventSchema((), ("click",)).labelled
JOIN = JoinSettings(window=1000, lateness=0, correction_horizon=1000)

offsets = st.integers(0, 2**42 - 1)
message_rows = st.integers(0, 2**21 - 1)


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Labelled examples of which only some columns matter here."""
    given_too = {"impression_id": "i", "offset": 0.0, "weight": 1.0, "keep_rate": 1.0, "kept": True}
    return pa.RecordBatch.from_pylist([given_too | row for row in rows], schema=SCHEMA)


def at(offset: int, row: int = 0, label: int = 0, kind: int = 0, ts: int = 5) -> dict[str, Any]:
    """An example at a place."""
    return {"src_offset": offset, "src_row": row, "label": label, "kind": kind, "ts": ts}


@given(st.lists(st.tuples(offsets, message_rows), min_size=1, unique=True))
def test_places_in_a_topic_are_distinct_and_ascend(found: list[tuple[int, int]]) -> None:
    found.sort()
    numbers = packed_positions(batch([at(*place) for place in found]), 3)
    assert numbers.min() >= 0
    assert (np.diff(numbers) > 0).all()


@pytest.mark.parametrize("place", [(2**42, 0), (0, 2**21)])
def test_a_place_without_a_number_is_refused(place: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="partition 7: offset"):
        packed_positions(batch([at(*place)]), 7)


def test_seeds_differ_by_partition_and_are_the_places_of_files() -> None:
    place = np.arange(10_000, dtype=np.int64) << 21
    assert (rounding_seeds(place) == place).all()
    every = np.concatenate([rounding_seeds(place, partition) for partition in range(50)])
    assert every.min() >= 0
    assert len(np.unique(every)) == len(every)


def update(corrected: Corrected, partition: int, rows: list[dict[str, Any]], logit: float) -> None:
    """Count examples of one partition, all with one logit."""
    examples = batch(rows)
    place = packed_positions(examples, partition)
    corrected.update(examples, place, partition, np.full(len(rows), logit), np.ones(len(rows)))


def test_a_correction_moves_the_example_of_its_own_partition() -> None:
    found, expected = Corrected(1000, JOIN.known_span), Corrected(1000, JOIN.known_span)
    for partition, logit in ((0, -1.0), (1, -2.0), (2, -3.0)):
        update(found, partition, [at(8), at(9)], logit)
    # Partition 1 is far ahead in time, and forgets only its own.
    update(found, 1, [at(10, ts=1_000_000)], -2.0)
    again = Corrected(1000, JOIN.known_span)
    again.restore(found.state())
    update(again, 2, [at(9, label=1, kind=1)], 7.0)
    update(again, 0, [at(8, label=1, kind=1)], 7.0)
    update(again, 3, [at(8, label=1, kind=1)], 0.5)  # whose first label nobody saw
    for logit, label in ((-1.0, 0), (-1.0, 1), (-2.0, 0), (-2.0, 0), (-3.0, 0), (-3.0, 1)):
        update(expected, 0, [at(1, label=label)], logit)
    update(expected, 0, [at(1, ts=1_000_000)], -2.0)
    update(expected, 0, [at(1, label=1)], 0.5)
    measured, right = again.evaluation.metrics(), expected.evaluation.metrics()
    for name in ("examples", "log_loss", "auc", "calibration", "ctr"):
        assert measured[name] == pytest.approx(right[name]), name
