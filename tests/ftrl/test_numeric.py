"""Numbers as coordinates: buckets by hand, learned quantiles against the oracle."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.features.config import FeatureConfig
from ftrl.features.coordinates import Features
from ftrl.features.hashing import Hasher
from ftrl.features.numeric import Bucket, quantile_edges
from tests.oracles.features import FeatureOracle
from tests.support.columns import Rows, batch, config, keys_of, rows_of
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("number", "bits", "as_text"),
    [
        (0.0, 1, "b0"),
        (-0.0, 1, "b0"),
        (1.0, 0, "b1023"),
        (1.0, 1, "b2046"),
        (1.5, 1, "b2047"),
        (2.0, 1, "b2048"),
        (-2.0, 1, "b-2048"),
        (1.5, 8, "b262016"),
        (float("inf"), 1, "b4094"),
        (5e-324, 8, "b0"),
    ],
)
def test_a_number_hashes_as_its_bucket(number: float, bits: int, as_text: str) -> None:
    found = Bucket("price", bits).encode(pa.array([number])).keys
    assert found.tolist() == Hasher("price").keys(pa.array([as_text])).tolist()


def test_a_carried_number_is_missing_unless_finite() -> None:
    column = pa.array([2.5, None, float("nan"), float("inf"), float("-inf"), 0.0])
    sized = config(x={"kind": "number", "encoding": "value"})
    rows = rows_of(Features(sized).coordinates(batch(x=column)))
    key, missing = int(Hasher("x").keys(pa.array([""]))[0]), int(Hasher("x").missing)
    assert rows == [[(key, 2.5)], *[[(missing, 1.0)]] * 4, [(key, 0.0)]]


def test_numbers_of_any_width_count_as_float64() -> None:
    expected = keys_of({"kind": "number"}, pa.array([2.0, 3.0]))
    for kind in (pa.int8(), pa.uint64(), pa.float32()):
        assert keys_of({"kind": "number"}, pa.array([2, 3]).cast(kind)) == expected
    huge = pa.array([2**53 + 1])
    assert keys_of({"kind": "number"}, huge) == keys_of(
        {"kind": "number"}, huge.cast(pa.float64(), safe=False)
    )


LEARNED = config(
    "price^word",
    price={
        "kind": "number",
        "encoding": "quantile",
        "quantiles": 5,
        "learn_edges_from": 100,
    },
    word={"kind": "categorical"},
)


def priced(seed: int, count: int = 150) -> pa.RecordBatch:
    """Prices with ties, nulls, NaN and infinities."""
    rng = np.random.default_rng(seed)
    prices = np.round(rng.lognormal(0, 1, count), 1)
    odd = rng.random(count)
    prices[odd < 0.1], prices[odd > 0.97] = np.nan, np.inf
    null = (odd > 0.1) & (odd < 0.15)
    words = rng.choice(["a", "b"], count)
    return batch(price=pa.array(prices, mask=null), word=pa.array(words.tolist()))


def oracle_rows(features: FeatureConfig, table: pa.RecordBatch) -> Rows:
    oracle = FeatureOracle(features)
    columns = [name.removeprefix("features.") for name in table.schema.names]
    return [oracle.row(dict(zip(columns, row.values(), strict=True))) for row in table.to_pylist()]


@settings(max_examples=tries(15))
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 150), max_size=6).map(sorted),
    resume_at=st.integers(0, 7),
)
def test_learned_edges_ignore_batches_and_restarts(
    seed: int, cuts: list[int], resume_at: int
) -> None:
    table = priced(seed)
    features, found = Features(LEARNED), Rows()
    for i, (start, stop) in enumerate(itertools.pairwise([0, *cuts, 150])):
        if i == resume_at:
            saved = json.loads(json.dumps(features.state()))
            features = Features(LEARNED)
            features.restore(saved)
        found += rows_of(features.coordinates(table.slice(start, stop - start)))
    assert found == oracle_rows(LEARNED, table)
    assert [len(row) for row in found[:100]] == [1] * 100
    assert len(found[-1]) == 3


def test_the_frozen_configuration_has_the_learned_edges() -> None:
    features, table = Features(LEARNED), priced(1)
    features.coordinates(table.slice(0, 90))
    assert features.frozen_config() == LEARNED
    features.coordinates(table.slice(90))
    frozen = features.frozen_config()
    assert frozen.fields["price"].edges == tuple(features.state()["price"]["edges"])
    assert frozen == FeatureConfig.model_validate_json(frozen.model_dump_json())
    scorer = Features(frozen, learn=False)
    assert rows_of(scorer.coordinates(table)) == rows_of(features.coordinates(table))
    assert scorer.state() == {}


@pytest.mark.parametrize(("learn", "serving"), [(False, False), (True, True)])
def test_scoring_never_learns(learn: bool, serving: bool) -> None:
    features, table = Features(LEARNED, learn=learn), priced(2)
    for _ in range(3):
        found = features.coordinates(table, serving=serving)
    assert np.diff(found.indptr).tolist() == [1] * table.num_rows  # the word alone
    assert features.state() == {"price": {"sample": []}}


def test_restoring_goes_back_to_the_saved_sample() -> None:
    features, table = Features(LEARNED), priced(3)
    features.coordinates(table.slice(0, 50))
    saved = features.state()
    first = rows_of(features.coordinates(table.slice(50)))
    features.restore(saved)
    assert features.state() == saved
    assert rows_of(features.coordinates(table.slice(50))) == first


def test_a_state_of_another_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"edges of \['cost'\].*those of \['price'\]"):
        Features(LEARNED).restore({"cost": {"edges": [1.0]}})


def test_quantile_edges_by_hand() -> None:
    sample = np.array([9.0, 1.0, 3.0, 7.0, 5.0, 2.0, 8.0, 4.0])
    assert quantile_edges(sample, 4).tolist() == [3.0, 5.0, 8.0]
    assert str(quantile_edges(np.full(8, -0.0), 4).tolist()) == "[0.0]"
