"""Labelled rows for the learner's tests: drawn by Hypothesis or at random, and as arrays."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np
from hypothesis import strategies as st

from ftrl.admission.admission import Admission
from ftrl.learner import Learned, Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.fixedpoint import SCALE
from streams.compute.arrays import F64, I8, I16, I64, U8, U64, Bool
from tests.oracles.counter import ExactCounter
from tests.oracles.ftrl import Row


class Arrays(TypedDict):
    """The arguments of `Learner.learn`, by name."""

    indptr: I64
    keys: U64
    values: F64
    label: I8
    offset: F64
    weight: F64
    rate: F64
    kind: I8
    kept: Bool
    place: I64
    ts: I64
    thresholds: U8


def arrays(rows: Sequence[Row], first: int = 0) -> Arrays:
    """The rows as the learner takes them, from place `first` on; no values where all are 1."""
    lengths = [len(row.coordinates) for row in rows]
    pairs = [pair for row in rows for pair in row.coordinates]
    ones = all(value == 1 for _, value in pairs)
    return Arrays(
        indptr=np.cumsum([0, *lengths], dtype=np.int64),
        keys=np.array([key for key, _ in pairs], np.uint64),
        values=np.array([] if ones else [value for _, value in pairs], np.float64),
        label=np.array([row.label for row in rows], np.int8),
        offset=np.array([row.offset for row in rows], np.float64),
        weight=np.array([row.weight for row in rows], np.float64),
        rate=np.array([row.rate for row in rows], np.float64),
        kind=np.array([row.correction for row in rows], np.int8),
        kept=np.array([row.kept for row in rows], np.bool_),
        place=np.arange(first, first + len(rows)),
        ts=np.array([row.ts for row in rows], np.int64),
        thresholds=np.array([each for row in rows for each in row.thresholds or ()], np.uint8),
    )


def learn(
    learner: Learner, rows: Sequence[Row], cuts: Iterable[int] = (), first: int = 0
) -> Learned:
    """Teach the rows, from place `first` on, in batches that end at `cuts` (in any order)."""
    edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    batches = [arrays(rows[a:b], first + a) for a, b in itertools.pairwise(edges)]
    done = [learner.learn(**batch) for batch in batches]
    return Learned(
        np.concatenate([batch.logit for batch in done]),
        np.concatenate([batch.omega for batch in done]),
    )


def predict(learner: Learner, rows: Arrays) -> F64:
    """The rows' logits under the weights as they are, bit for bit.

    A copy of the learner learns the rows with weight 0, which moves nothing; nothing leaves its
    table.
    """
    settings = learner.settings.model_copy(update={"when_full": "refuse", "expire_after": 0})
    copy = Learner.restore(settings, AdmissionSettings(), learner.state())
    count = len(rows["offset"])
    return copy.learn(
        rows["indptr"],
        rows["keys"],
        rows["values"],
        label=np.ones(count, np.int8),
        offset=rows["offset"],
        weight=np.zeros(count),
        place=np.arange(count),
    ).logit


def dequantize(q: I16) -> F64:
    """The values that q2.13 integers stand for, exactly."""
    return q / SCALE


def of(layout: str, **changes: float | str) -> LearnerSettings:
    """Settings with a layout, by name, the smallest table of fixed size, and other keys changed."""
    return LearnerSettings.model_validate({"layout": layout, "memory": 1, **changes})


def least(key: int) -> int:
    """The least key that shares group and tag with `key` in the smallest table, of 256 groups."""
    return key >> 56 << 56 | max(key & 0xFFFFFFFF, 1)


def by_least(row: Row) -> Row:
    """`row` with the least key for each."""
    return replace(row, coordinates=tuple((least(key), x) for key, x in row.coordinates))


def bloom(admit_after: int, generations: int = 2, rotate_every: int = 10) -> AdmissionSettings:
    """Filters with so much room that no feature is ever let in early here."""
    return AdmissionSettings(
        kind="bloom",
        admit_after=admit_after,
        generations=generations,
        rotate_every=rotate_every,
        memory=0.25,
    )


def counter(settings: AdmissionSettings) -> ExactCounter:
    """The exact counter that filters of these settings approximate."""
    return ExactCounter(
        settings.admit_after,
        settings.generations,
        settings.rotate_period or settings.rotate_every,
        Admission(settings).rules.lines,
        settings.rotate_period > 0,
    )


def same_state(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two learners' states are equal byte for byte."""
    return a.keys() == b.keys() and all(
        np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes() for name in a
    )


def random_rows(count: int, fields: int, features: int, seed: int, lists: int = 0) -> list[Row]:
    """First labels with `fields` features each, a few of `features` very common, most rare."""
    rng = np.random.default_rng(seed)
    names = rng.integers(1, 2**64, features, dtype=np.uint64)
    rows = []
    for _ in range(count):
        ranks = (features ** rng.random(fields + rng.integers(0, lists + 1))).astype(int) - 1
        label = int(rng.random() < 0.2)
        rows.append(Row(tuple((int(names[rank]), 1.0) for rank in ranks), label))
    return rows


# Few keys, so that they meet; next to each other and at both ends, so that slots collide. No
# two share all their counters in a filter.
KEYS = st.sampled_from([1, 2, 3, 2**20, 2**63 + 1, 2**63 + 2, 2**64 - 2, 2**64 - 1])
ANY_KEY = st.one_of(KEYS, st.integers(1, 2**64 - 1))
VALUES = st.one_of(st.just(1.0), st.floats(-8, 8))


@st.composite
def row(draw: st.DrawFn, keys: st.SearchStrategy[int] = ANY_KEY, plain: bool = False) -> Row:
    """Any row; a `plain` one is a first label, unweighted, with values 1."""
    values = st.just(1.0) if plain else VALUES
    coordinates = tuple(draw(st.lists(st.tuples(keys, values), max_size=8)))
    if plain:
        return Row(coordinates, draw(st.integers(0, 1)))
    correction = draw(st.booleans())
    return Row(
        coordinates,
        label=1 if correction else draw(st.integers(0, 1)),
        offset=draw(st.floats(-3, 3)),
        weight=draw(st.sampled_from([1.0, 0.25, 7.5])),
        rate=draw(st.sampled_from([1.0, 0.5, 0.1])),
        correction=correction,
        kept=draw(st.booleans()),
    )


rows = st.lists(row(), max_size=40)
few_keys = st.lists(row(KEYS), max_size=40)
plain_rows = st.lists(row(KEYS, plain=True), max_size=60)
cuts = st.lists(st.integers(0, 60), max_size=4)


@st.composite
def with_thresholds(
    draw: st.DrawFn, keys: st.SearchStrategy[int] = KEYS, plain: bool = True
) -> Row:
    """A row with an event time and thresholds."""
    one = draw(row(keys, plain=plain))
    ts = draw(st.integers(0, 50)) + draw(st.sampled_from([0, 0, 0, 300, 100_000]))
    return replace(one, ts=ts, thresholds=tuple(draw(st.integers(0, 3)) for _ in one.coordinates))


timed_rows = st.lists(with_thresholds(), max_size=60)
any_rows = st.lists(with_thresholds(ANY_KEY, plain=False), max_size=40)
