"""The layout that is sized once: groups, tags, what collides, and what happens when it is full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.learner import Learner
from ftrl.serving.bucketed import BucketedKeys, BucketedServingTable, bucketed_keys
from ftrl.serving.table import serving_weights
from ftrl.settings import AdmissionSettings
from ftrl.table.growing import Table
from ftrl.table.layout import (
    BUCKET,
    FIXED,
    LAYOUTS,
    bucket_of,
    columns,
    find,
    home,
    least_keys,
    tag_of,
)
from streams.compute.arrays import U64, Bool
from streams.errors import ConfigError
from tests.oracles.ftrl import Row
from tests.support import learning
from tests.support.learning import (
    arrays,
    bloom,
    dequantize,
    learn,
    least,
    of,
    predict,
    random_rows,
    same_state,
)
from tests.support.tiers import tries

kernel = pytest.mark.kernel  # not of those with many keys, which are slow in pure Python

quick = settings(max_examples=tries(50))
OFF = AdmissionSettings()
BUCKETS = 256  # of a MiB
NO_VALUES = np.empty(0)


def random_keys(count: int, seed: int, bits: int = 0) -> U64:
    """Keys of full width, or whose tags have so many random bits only, the highest."""
    keys = np.random.default_rng(seed).integers(1, 2**64, count, dtype=np.uint64)
    if bits:
        keys &= np.uint64(2**64 - 2 ** (32 - bits))
    return np.unique(keys)


def teach(learner: Learner, keys: U64) -> None:
    """A click for every hundred of the keys."""
    parts = np.array_split(keys, max(len(keys) // 100, 1))
    learn(learner, [Row(tuple((key, 1.0) for key in part.tolist()), 1) for part in parts])


def held_by(learner: Learner) -> U64:
    return np.asarray(learner.state()["keys"], np.uint64)


def ask(learner: Learner, keys: U64) -> Bool:
    """Whether the learner has a weight for each key."""
    logits = predict(learner, arrays([Row(((key, 1.0),)) for key in keys.tolist()]))
    found: Bool = logits != learner.bias
    return found


@kernel
@given(st.integers(0, 2**64 - 1), st.integers(1, 2**28))
def test_the_least_key_of_a_bucket_and_tag_is_in_both(key: int, buckets: int) -> None:
    bucket, tag = bucket_of(buckets, np.uint64(key)), tag_of(np.uint64(key))
    assert 0 <= bucket < buckets
    found = least_keys(buckets, np.array([bucket], np.int64), np.array([tag], np.uint32))[0]
    assert (bucket_of(buckets, found), tag_of(found)) == (bucket, tag)
    lower = found - np.uint64(2**32)
    assert found == 0 or bucket == 0 or bucket_of(buckets, lower) == bucket - 1


@kernel
@pytest.mark.parametrize("memory", [1, 3])
def test_buckets_and_homes_are_even(memory: int) -> None:
    table = Table(FIXED, 10**9, memory)
    assert len(table.slots) == memory * BUCKETS * BUCKET
    keys = np.random.default_rng(1).integers(1, 2**64, 5000, dtype=np.uint64)
    homes = np.array([home(table.slots, table.homes, key) for key in keys])
    assert 0 <= homes.min() <= homes.max() < len(table.slots)
    counts = np.histogram(homes, 50, (0, len(table.slots)))[0]
    expected = len(homes) / 50
    # χ² with 49 degrees of freedom is below 99 with probability 0.9999.
    assert ((counts - expected) ** 2 / expected).sum() < 99


@kernel
def test_two_features_of_one_bucket_and_tag_are_one() -> None:
    """Nothing else is: the bucket is the key's high half, scaled, the tag its low half."""
    learner = Learner(of(FIXED, l1=0), OFF)
    key = 0x1234_5678_9ABC_DEF0
    learn(learner, [Row(((key, 1.0),), 1)])
    twin, other_tag, other_bucket = key ^ 1 << 32, key ^ 1, key ^ 1 << 60
    found = ask(learner, np.array([key, twin, other_tag, other_bucket], np.uint64))
    assert found.tolist() == [True, True, False, False]
    learn(learner, [Row(((twin, 1.0), (key, 1.0), (other_tag, 1.0)), 0)], (), 1)
    assert held_by(learner).tolist() == sorted({least(key), least(other_tag)})
    assert learner.features == 2
    restored = Learner.restore(learner.settings, OFF, learner.state())
    assert same_state(restored.state(), learner.state())


@kernel
@pytest.mark.parametrize("layout", LAYOUTS)
@quick
@given(st.data())
def test_train_save_restore_train_is_train_whatever_collides(
    layout: str, data: st.DataObject
) -> None:
    """Keys that differ in bits only that no slot holds, or share a home, or straddle groups."""
    high = st.sampled_from([0, 1, 2**24 - 1, 2**24, 2**31, 2**32 - 1])
    low = st.sampled_from([0, 1, 2, 511 << 23, (511 << 23) + 1, 2**32 - 1])
    keys = st.builds(lambda h, t: max(h << 32 | t, 1), high, low)
    rows = data.draw(st.lists(learning.row(keys), max_size=30))
    cut = data.draw(st.integers(0, len(rows)))
    straight, before = (Learner(of(layout, l1=0.1), bloom(0)) for _ in range(2))
    expected = learn(straight, rows).logit
    head = learn(before, rows[:cut]).logit
    after = Learner.restore(of(layout, l1=0.1), bloom(0), before.state())
    tail = learn(after, rows[cut:], (), cut).logit
    assert np.concatenate([head, tail]).tobytes() == expected.tobytes()
    assert same_state(after.state(), straight.state())


def test_the_collision_rate_is_as_stated() -> None:
    """Measured where it can be: tags of 18 random bits collide 2¹⁴ times as often."""
    learner = Learner(of(FIXED, l1=0), OFF)
    teach(learner, random_keys(60_000, seed=2, bits=18))
    share = 2**14
    stated = learner.stats().collision_rate
    assert stated == learner.features / BUCKETS / 2**32
    others = random_keys(400_000, seed=3, bits=18)
    others = others[~np.isin(others, random_keys(60_000, seed=2, bits=18))]
    found = int(ask(learner, others).sum())
    expected = len(others) * stated * share
    assert expected > 300
    assert abs(found - expected) < 5 * expected**0.5


def test_a_load_of_seven_tenths_loses_nothing() -> None:
    learner = Learner(of(FIXED, l1=0), OFF)
    keys = random_keys(BUCKETS * BUCKET * 7 // 10 + 1, seed=4)
    teach(learner, keys)
    stats = learner.stats()
    assert stats.refused == 0
    assert stats.features_admitted == len(keys)
    assert stats.collision_rate <= BUCKET * 0.7001 / 2**32
    assert len(learner.slots) == BUCKETS * BUCKET
    assert held_by(learner).tolist() == sorted(map(least, keys.tolist()))
    assert ask(learner, keys).all()


def test_a_full_table_refuses_and_goes_on() -> None:
    """At seven eighths of all slots; a full group refuses by itself."""
    learner = Learner(of(FIXED, l1=0, when_full="refuse"), OFF)
    keys = random_keys(130_000, seed=5)
    np.random.default_rng(6).shuffle(keys)
    teach(learner, keys)
    stats = learner.stats()
    assert stats.features_admitted == BUCKETS * BUCKET * 7 // 8
    assert stats.refused >= len(keys) - stats.features_admitted
    crowd = np.arange(1, 700, dtype=np.uint64)  # of group 0
    one = Learner(of(FIXED, l1=0, when_full="refuse"), OFF)
    teach(one, crowd)
    assert one.stats().features_admitted == BUCKET - 1
    assert one.stats().refused == len(crowd) - (BUCKET - 1)
    assert ask(one, crowd).sum() == BUCKET - 1
    assert not ask(one, crowd + np.uint64(10_000)).any()
    restored = Learner.restore(one.settings, OFF, one.state())
    assert same_state(restored.state(), one.state())
    small = Learner(of(FIXED, l1=0, max_features=50, when_full="refuse"), OFF)
    teach(small, keys[:1000])
    assert small.features == 50


@kernel
def test_a_table_of_another_size_is_refused() -> None:
    learner = Learner(of(FIXED), OFF)
    teach(learner, random_keys(300, seed=7))
    with pytest.raises(ConfigError, match=r"takes 1 MiB, learner.memory allows 2: set it to 1"):
        Learner.restore(of(FIXED, memory=2), OFF, learner.state())


@kernel
def test_rounding_is_measured() -> None:
    """A rounding by R is off by v (1 - v) · 2 steps on average, v the part below a step."""
    learner = Learner(of(FIXED), OFF)
    assert learner.stats().rounding == 0
    learn(learner, random_rows(3000, fields=3, features=500, seed=8))
    # 1/3 of a step where v is uniform; never more than half of one.
    assert 0.25 < learner.stats().rounding * 8192 < 0.4
    restored = Learner.restore(learner.settings, OFF, learner.state())
    assert restored.stats() == learner.stats()
    floats = Learner(of("float32"), OFF)
    learn(floats, random_rows(30, fields=3, features=50, seed=8))
    assert (floats.stats().rounding, floats.stats().collision_rate) == (0, 0)


def served(learner: Learner) -> BucketedServingTable:
    keys, q, _ = serving_weights(*learner.weights(), seed=0, variant=1)
    return BucketedServingTable(bucketed_keys(keys, learner.buckets), q, learner.bias)


@kernel
@quick
@given(learning.rows, learning.rows)
def test_scores_are_the_learners(taught: list[Row], asked: list[Row]) -> None:
    learner = Learner(of(FIXED, l1=0.05), OFF)
    learn(learner, taught)
    table = served(learner)
    for rows in (taught, asked):
        a = arrays(rows)
        coordinates = (a["indptr"], a["keys"], a["values"], a["offset"])
        difference = table.logit(*coordinates) - predict(learner, a)
        for found, row in zip(difference.tolist(), rows, strict=True):
            assert abs(found) <= sum(abs(x) for _, x in row.coordinates) * 2.0**-13 + 1e-9


def test_a_served_weight_takes_6_bytes() -> None:
    learner = Learner(of(FIXED, l1=0), OFF)
    keys = random_keys(80_000, seed=9)
    teach(learner, keys)
    grouped, q, _ = serving_weights(*learner.weights(), seed=0, variant=1)
    table = served(learner)
    assert table.nbytes == 6 * len(q) + 4 * (BUCKETS + 1)
    expected = dict(zip(grouped.tolist(), dequantize(q).tolist(), strict=True))
    others = random_keys(20_000, seed=10)
    asked = np.concatenate([keys, others])
    logits = table.logit(np.arange(len(asked) + 1), asked, NO_VALUES, np.zeros(len(asked)))
    wanted = [expected.get(least(key), 0.0) + learner.bias for key in asked.tolist()]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-12)
    assert (logits[: len(keys)] != learner.bias).mean() > 0.9


@kernel
def test_arrays_that_do_not_fit_are_not_served() -> None:
    q, tags = np.ones(3, np.int16), np.array([5, 9, 2], np.uint32)
    good = BucketedKeys(np.array([2, 0, 1], np.uint16), tags)
    assert BucketedServingTable(good, q, 0.5).bias == 0.5
    for counts, message in (([2, 0, 2], "4 keys in buckets, 3 tags"), ([1, 2], "do not ascend")):
        with pytest.raises(ValueError, match=message):
            BucketedServingTable(BucketedKeys(np.array(counts, np.uint16), tags), q, 0.0)
    many = BucketedKeys(np.array([513], np.uint16), np.arange(1, 514, dtype=np.uint32))
    with pytest.raises(ValueError, match="up to 512"):
        BucketedServingTable(many, np.ones(513, np.int16), 0.0)
    none = BucketedKeys(np.zeros(4, np.uint16), np.empty(0, np.uint32))
    empty = BucketedServingTable(none, np.empty(0, np.int16), -1.25)
    assert empty.logit(np.array([0, 1]), np.ones(1, np.uint64), NO_VALUES, np.zeros(1)) == [-1.25]


@kernel
def test_columns_are_what_was_put_in() -> None:
    table = Table(FIXED, 10**9, 1)
    keys = np.unique([least(key) for key in random_keys(5000, seed=11).tolist()]).astype(np.uint64)
    z = np.arange(len(keys)).astype(np.int16)
    n = np.arange(len(keys))[::-1].astype(np.uint16)
    table.load(keys, z, n)
    found = columns(table.slots)
    for column, given_ in zip(found[:3], (keys, z, n), strict=True):
        assert (column == given_).all()
    assert all(find(table.slots, table.homes, key) >= 0 for key in keys[:100])
