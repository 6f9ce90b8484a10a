"""Features that leave the table: the right ones, at the right time, whatever happens meanwhile."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl import learner
from ftrl.eviction import eviction
from ftrl.eviction.scan import EvictionRule, scan
from ftrl.kernels.arguments import Rates
from ftrl.kernels.count_codes import GRADIENTS
from ftrl.kernels.slot_codec import SlotCodec
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings
from ftrl.table import growing
from ftrl.table.growing import Table
from ftrl.table.layout import BUCKET, FIXED, LAYOUTS, columns, find
from tests.oracles.eviction import Forgetful
from tests.oracles.ftrl import Row
from tests.support import learning
from tests.support.learning import (
    bloom,
    by_least,
    counter,
    learn,
    least,
    of,
    random_rows,
    same_state,
)
from tests.support.tiers import tries

kernel = pytest.mark.kernel  # not of those with groups or many rows, slow in pure Python

OFF = AdmissionSettings()
# Hashes, as keys are: 20 of them, some in neighbouring slots, and the ends of the range.
NAMES = [1, 2**64 - 1, 2**64 - 2, 2**63, 2**63 + 1] + [
    int(key) for key in np.random.default_rng(3).integers(1, 2**64, 15, dtype=np.uint64)
]
rows = st.lists(learning.row(st.sampled_from(NAMES)), min_size=10, max_size=70)


def held(model: Learner) -> set[int]:
    return set(np.asarray(model.state()["keys"]).tolist())


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables have several stretches, and grow in many steps, as large ones do."""
    monkeypatch.setattr(eviction, "STRETCH", 2)
    monkeypatch.setattr(growing, "LEAST_MOVED", 4)
    monkeypatch.setattr(learner, "STEP", 60)


def stretches(cap: int) -> int:
    return 1 << max((cap // 2).bit_length(), 1)


@kernel
@pytest.mark.parametrize("evicts", [True, False])
@given(rows, st.integers(1, 12), st.sampled_from([0, 1, 5, 17, 40]), st.integers(0, 1))
@settings(max_examples=tries(25))
def test_what_leaves_is_what_the_oracle_says(
    evicts: bool, rows: list[Row], cap: int, expire_after: int, admit_after: int
) -> None:
    when_full = "evict" if evicts else "refuse"
    values = of("float64", l1=0.3, max_features=cap, expire_after=expire_after, when_full=when_full)
    admission = bloom(admit_after)
    model = Learner(values, admission)
    oracle = Forgetful(
        l1=0.3,
        max_features=cap,
        expire_after=expire_after,
        evicts=evicts,
        stretches=stretches(cap),
        raises=admit_after and admission.raise_at_cap,  # without a threshold there are no filters
        counter=counter(admission),
    )
    for place, row in enumerate(rows):
        logit = learn(model, [row], first=place).logit[0]
        assert math.isclose(logit, oracle.learn(row), rel_tol=1e-6, abs_tol=1e-9)
        assert held(model) == set(oracle.held())
    state = model.state()
    assert state["refused"] == oracle.refused
    assert state["evicted"] == oracle.evicted == model.stats().evicted
    for key in oracle.held():
        assert find(model.slots, model.homes, np.uint64(key)) >= 0


@kernel
@given(
    st.lists(
        learning.with_thresholds(st.sampled_from(NAMES), plain=False), min_size=20, max_size=70
    ),
    st.integers(1, 12),
    st.sampled_from([0, 17]),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=tries(25))
def test_the_threshold_is_higher_while_the_table_is_full(
    rows: list[Row], cap: int, expire_after: int, raises: int, own_thresholds: bool
) -> None:
    values = of("float64", l1=0.3, max_features=cap, expire_after=expire_after)
    admission = bloom(1).model_copy(update={"raise_at_cap": raises})
    model = Learner(values, admission)
    oracle = Forgetful(
        l1=0.3,
        max_features=cap,
        expire_after=expire_after,
        stretches=stretches(cap),
        raises=raises,
        counter=counter(admission),
    )
    for place, drawn in enumerate(rows):
        row = drawn if own_thresholds else replace(drawn, thresholds=None)
        learn(model, [row], first=place)
        oracle.learn(row)
        assert held(model) == set(oracle.held())


@pytest.mark.parametrize("layout", ["float32", "q2.13"])
def test_a_full_table_asks_for_more_until_there_is_room(layout: str) -> None:
    values = of(layout, max_features=16, expire_after=100)
    admission = bloom(1, rotate_every=10**6).model_copy(update={"raise_at_cap": 2})
    model = Learner(values, admission)
    names = np.random.default_rng(5).integers(1, 2**64, 20, dtype=np.uint64).tolist()

    def sightings(key: int) -> int:
        """After how many of them a feature enters."""
        for count in range(1, 9):
            learn(model, [Row(((key, 1.0),))], first=count)
            if find(model.slots, model.homes, np.uint64(key)) >= 0:
                return count
        return 0

    assert [sightings(key) for key in names[:16]] == [2] * 16
    # At its second sighting it finds no room, which is not counted, and another leaves.
    assert sightings(names[16]) == 5
    learn(model, [Row(())] * 130)
    assert model.features == 0
    assert [sightings(key) for key in names[17:]] == [2, 2, 2]


@pytest.mark.parametrize("layout", LAYOUTS)
@given(rows, st.sampled_from([1, 5, 17, 40, 600]))
@settings(max_examples=tries(20))
def test_what_expires_is_what_the_oracle_says(
    layout: str, rows: list[Row], expire_after: int
) -> None:
    groups = 256
    model = Learner(of(layout, expire_after=expire_after, max_features=100), OFF)
    size = groups if layout == FIXED else stretches(model.settings.max_features)
    oracle = Forgetful(expire_after=expire_after, stretches=size)
    rows = [by_least(row) for row in rows] if layout == FIXED else rows
    for place, row in enumerate(rows):
        learn(model, [row], first=place)
        oracle.learn(row)
        assert held(model) == set(oracle.held())


@kernel
@pytest.mark.parametrize("expire_after", [1, 7, 8, 63, 1000])
def test_expiry_is_neither_early_nor_late(expire_after: int) -> None:
    """A feature stays while it is seen every `expire_after` examples, and is gone at 5/4 of it."""
    model = Learner(of("float32", expire_after=expire_after), OFF)
    seen = [Row(((key, 1.0),)) for key in NAMES]
    for row in seen:
        learn(model, [row])
    idle = [Row(())] * max(expire_after - len(NAMES), 0)
    learn(model, idle)
    if expire_after > len(NAMES):
        assert model.features == len(NAMES)
    gone = expire_after + -(-expire_after // 4) + 2
    learn(model, [Row(())] * gone)
    assert model.features == 0
    assert model.stats().evicted == len(NAMES)


crowd = random_rows(500, fields=6, features=900, seed=4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("admission", [OFF, bloom(1, rotate_every=70)])
@given(learning.cuts, st.lists(st.integers(0, len(crowd)), max_size=5), st.integers(0, 10**6))
@settings(max_examples=tries(4))
def test_kill_and_resume_changes_no_byte(
    layout: str, admission: AdmissionSettings, cuts: list[int], kills: list[int], seed: int
) -> None:
    """Wherever batches end, and wherever the model is saved and another goes on with it."""
    values = of(layout, l1=0.1, max_features=150, expire_after=60, seed=seed)
    straight, resumed = Learner(values, admission), Learner(values, admission)
    expected = learn(straight, crowd).logit
    found = []
    for start, end in itertools.pairwise([0, *sorted(kills), len(crowd)]):
        found.append(learn(resumed, crowd[start:end], cuts, first=start).logit)
        resumed = Learner.restore(values, admission, resumed.state())
    assert np.concatenate(found).tobytes() == expected.tobytes()
    assert same_state(resumed.state(), straight.state())
    stats = straight.stats()
    assert stats.evicted > 100
    assert stats.features_admitted <= 150


def test_in_a_full_table_new_features_get_in_and_good_ones_stay() -> None:
    for layout in LAYOUTS:
        model = Learner(of(layout, l1=0.5, max_features=200), OFF)
        good = Row(tuple((key, 1.0) for key in NAMES), 1)
        learn(model, [good] * 20)
        rng = np.random.default_rng(5)
        for place in range(300):
            new = tuple((int(key), 1.0) for key in rng.integers(1, 2**64, 5, dtype=np.uint64))
            learn(model, [Row(new)], first=20 + place)
            assert model.features <= 200
        learn(model, [Row(new)], first=400)
        stats = model.stats()
        assert (stats.features_admitted > 190, stats.evicted > 700) == (True, True), layout
        assert stats.refused < 800
        stay = set(map(least, NAMES) if layout == FIXED else NAMES)
        assert stay <= set(model.weights()[0].tolist())


def test_the_least_features_of_a_full_bucket_leave() -> None:
    model = Learner(of(FIXED, l1=0.5), OFF)
    good = Row(tuple((key, 1.0) for key in range(1, 100)), 1)
    learn(model, [good] * 10)
    others = [Row(((key, 1.0),)) for key in range(1000, 2000)]
    learn(model, others, first=10)
    stats = model.stats()
    assert BUCKET // 2 < stats.features_admitted < BUCKET
    assert stats.evicted + stats.features_admitted + stats.refused == 99 + len(others)
    assert set(range(1, 100)) <= held(model)


@kernel
def test_a_bucket_that_loses_some_features_keeps_the_others() -> None:
    rng = np.random.default_rng(6)
    keys = np.unique(rng.integers(1, 2**32, 440, dtype=np.uint64))  # all of bucket 0
    z = rng.integers(-9, 9, len(keys)).astype(np.int16)
    n, ages = rng.integers(0, 99, len(keys)).astype(np.uint16), rng.integers(0, 9, len(keys))
    table = Table(FIXED, 1000, 1, aged=True)
    table.load(keys, z, n, ages.astype(np.uint8))
    table.take_touched()
    codec = SlotCodec(GRADIENTS, 1.0, Rates(0.1, 1.0, 1.0, 0.0))
    rule = EvictionRule(256, np.uint64(0), 3 + 7, 5, np.uint64(0), codec)
    nothing = np.empty(0, np.uint64)
    assert scan(table.arrays, rule, 255, 2, nothing, 0) == ((ages < 5).sum(), 2)
    stay = ages >= 5
    found = np.array(columns(table.slots, table.ages), np.int64)
    assert found.tolist() == np.array([keys, z, n, ages], np.int64)[:, stay].tolist()
    slots = [find(table.slots, table.homes, key) for key in keys]
    assert ((np.array(slots) >= 0) == stay).all()
    assert np.bitwise_count(table.touched).sum() == BUCKET


@kernel
def test_other_settings_when_it_is_restored() -> None:
    """Ages of another `expire_after` mean nothing; a state from before there was any has none."""
    model = Learner(of("float32", expire_after=40), OFF)
    learn(model, crowd[:100])
    state = model.state()
    for old in (state, {k: v for k, v in state.items() if k not in OURS} | {"format": 1}):
        other = Learner.restore(of("float32", expire_after=400), OFF, old)
        assert np.unique(np.asarray(other.state()["ages"])).tolist() == [100 // 50]
    never = Learner.restore(of("float32"), OFF, state)
    assert len(np.asarray(never.state()["ages"])) == 0


OURS = ("ages", "hand", "epoch", "evicted")
