"""Feature hashing equals its oracle, for every kind of field and every layout of a column."""

import datetime
import gzip
import itertools
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.features.config import FeatureConfig, FieldConfig
from ftrl.features.coordinates import Features
from ftrl.features.hashing import Hashed, Hasher, cross
from ftrl.settings import AdmissionSettings
from streams.compute.murmur3 import hash128
from streams.compute.splitmix import GOLDEN
from tests.oracles.features import FeatureOracle
from tests.support import trivago
from tests.support.columns import (
    INDICES,
    arrays,
    as_dictionary,
    batch,
    config,
    keys_of,
    plain_type,
    rows_of,
)
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

# -- golden vectors ---------------------------------------------------------------------------


def test_golden_vectors() -> None:
    features = Features(
        config(
            "ad_id^city",
            ad_id={"kind": "categorical"},
            city={"kind": "categorical"},
            is_new={"kind": "boolean"},
        )
    )
    found = features.coordinates(
        batch(
            ad_id=pa.array(["a1", "a1"]),
            city=pa.array(["Zürich", None]),
            is_new=pa.array([True, True]),
        )
    )
    assert found.indptr.tolist() == [0, 4, 8]
    assert found.values.tolist() == []
    first, second = found.keys.tolist()[:4], found.keys.tolist()[4:]
    assert first == [
        0xA9809ED47B222971,
        0x51F259423B52C650,
        0x867A0A68BD9587D0,
        0x4FC0FFC02A2F67DC,
    ]
    assert second[:3] == [0xA9809ED47B222971, 0x5D6C47ADDDAAA7C3, 0x867A0A68BD9587D0]


@pytest.mark.parametrize(
    ("number", "as_text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (123456789012345.0, "123456789012345"),
        (1e16, "1e+16"),
        (1e300, "1e+300"),
        (1e-7, "1e-07"),
        (float("-inf"), "-inf"),
    ],
)
def test_a_float_in_a_categorical_field_hashes_as_its_text(number: float, as_text: str) -> None:
    field = {"kind": "categorical", "dtype": "float"}
    assert keys_of(field, pa.array([number])) == keys_of(field, pa.array([as_text]))


def test_a_hash_of_zero_becomes_one() -> None:
    assert Hasher("").keys(pa.array(["", "a", ""])).tolist()[::2] == [1, 1]  # seed 0, no bytes
    lists = keys_of({"kind": "list", "hash_as": ""}, pa.array([["", None], [None]]))
    assert lists[0] == [1]
    assert lists[1] != [1]
    one = Hashed(np.array([5], np.uint64))
    half = cross(9, [one]).keys
    annihilator = np.uint64(-int(half[0]) * int(GOLDEN) % 2**64)
    last = Hashed(np.array([annihilator]))
    ragged = Hashed(last.keys, np.array([0, 1]))
    assert cross(9, [one, last]).keys.tolist() == [1]
    assert cross(9, [one, ragged]).keys.tolist() == [1]


# -- against the oracle -----------------------------------------------------------------------

WORDS = st.sampled_from(["", "a", "b", "Zürich", "日本", "🐟" * 5]) | st.text(max_size=40)
FLOATS = st.floats(width=64) | st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e300, 5e-324])
FIELDS: dict[str, tuple[dict[str, Any], st.SearchStrategy[Any]]] = {
    "word": ({"kind": "categorical"}, WORDS),
    "other": ({"kind": "categorical", "hash_as": "old^name", "serve_as": "a"}, WORDS),
    "whole": ({"kind": "categorical", "dtype": "int"}, st.integers(-(2**63), 2**63 - 1)),
    "real": ({"kind": "categorical", "dtype": "float"}, FLOATS),
    "flag": ({"kind": "boolean", "serve_as": True}, st.booleans()),
    "tags": ({"kind": "list"}, st.lists(st.none() | WORDS, max_size=5)),
    "more": ({"kind": "list", "serve_as": "b"}, st.lists(st.none() | WORDS, max_size=3)),
    "log": ({"kind": "number", "mantissa_bits": 2, "serve_as": 3}, FLOATS),
    "sized": ({"kind": "number", "encoding": "value"}, FLOATS),
    "cut": ({"kind": "number", "encoding": "quantile", "edges": (-1.0, 0.0, 2.5)}, FLOATS),
    "place": ({"kind": "position", "serve_as": 0}, st.integers(0, 50)),
}
CROSSES = ("word^flag", "other^whole^log", "tags^more", "more^place^cut", "real^tags")
Row = dict[str, Any]


@st.composite
def tables(draw: st.DrawFn) -> tuple[FeatureConfig, list[Row]]:
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, unique=True))
    crosses = [c for c in CROSSES if set(c.split("^")) <= set(names)]
    count = draw(st.integers(0, 8))
    columns = {n: "position" if n == "place" else n for n in names}
    rows = [{c: draw(st.none() | FIELDS[n][1]) for n, c in columns.items()} for _ in range(count)]
    return config(*crosses, **{n: FIELDS[n][0] for n in names}), rows


@settings(max_examples=tries(120))
@given(table=tables(), serving=st.booleans(), data=st.data())
def test_any_batch_equals_the_oracle(
    table: tuple[FeatureConfig, list[Row]], serving: bool, data: st.DataObject
) -> None:
    settings_, rows = table
    columns = {}
    for name, field in settings_.fields.items():
        column = "position" if field.kind == "position" else name
        columns[column] = data.draw(arrays([row[column] for row in rows], field))
    found = Features(settings_).coordinates(batch(**columns), serving=serving)
    oracle = FeatureOracle(settings_)
    assert rows_of(found) == [oracle.row(row, serving) for row in rows]


@settings(max_examples=tries(40))
@given(table=tables(), data=st.data())
def test_every_coordinate_has_the_threshold_of_its_field_or_cross(
    table: tuple[FeatureConfig, list[Row]], data: st.DataObject
) -> None:
    settings_, rows = table
    named = [*settings_.fields, *settings_.crosses]
    own = data.draw(st.dictionaries(st.sampled_from(named), st.integers(0, 15), min_size=1))
    columns = {}
    for name, field in settings_.fields.items():
        column = "position" if field.kind == "position" else name
        columns[column] = pa.array([row[column] for row in rows], plain_type(field))
    admission = AdmissionSettings(kind="bloom", admit_after=7, thresholds=own)
    found = Features(settings_, admission=admission).coordinates(batch(**columns))
    oracle = FeatureOracle(settings_)
    expected = [
        own.get(name, 7) for row in rows for name, part in oracle.parts(row).items() for _ in part
    ]
    assert found.thresholds.tolist() == expected


@pytest.mark.usefixtures("real_logs")
def test_real_rows_equal_the_oracle() -> None:
    with gzip.open(trivago.IMPRESSIONS, "rt") as lines:
        rows = [json.loads(line)["features"] for line in itertools.islice(lines, 1000)]
    settings_ = config(
        "item_id^platform",
        "city^price",
        "filters^is_last_item",
        **{n: {"kind": "categorical"} for n in ("item_id", "position", "platform", "city")},
        filters={"kind": "list"},
        price={"kind": "number"},
        is_last_item={"kind": "boolean"},
    )
    columns = {
        name: pa.array([row.get(name) for row in rows], plain_type(field))
        for name, field in settings_.fields.items()
    }
    named = [f"features.{name}" for name in columns]
    found = Features(settings_).coordinates(pa.RecordBatch.from_arrays([*columns.values()], named))
    oracle = FeatureOracle(settings_)
    assert rows_of(found) == [oracle.row(row) for row in rows]


# -- one value, whatever holds it -------------------------------------------------------------

WHOLE = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32()]
WIDTHS = [pa.float16(), pa.float32(), pa.float64()]


def held(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_float16(kind):
        return pa.array([None if v is None else np.float16(v) for v in values], kind)
    return pa.array(values, kind)


@settings(max_examples=tries(60))
@given(values=st.lists(st.none() | st.integers(0, 127), max_size=6), data=st.data())
def test_a_whole_number_hashes_alike_in_every_type(values: list[Any], data: st.DataObject) -> None:
    """And as the string, the element, the float and the number of a list that it would be."""
    kind = data.draw(st.sampled_from([*WHOLE, pa.uint64(), *WIDTHS, pa.string()]))
    array = held([v if v is None or kind != pa.string() else str(v) for v in values], kind)
    field = {"kind": "categorical", "dtype": "int"}
    oracle = FeatureOracle(config(x=field))
    expected = [[key for key, _ in oracle.row({"x": v})] for v in values]
    assert keys_of(field, array) == expected
    index = data.draw(st.sampled_from(INDICES))
    encoded = as_dictionary(array, index, data.draw(st.booleans()))
    assert keys_of(field, encoded) == expected
    wrap = data.draw(st.sampled_from([pa.ListArray, pa.LargeListArray]))
    offsets = pa.array(range(len(values) + 1), pa.int32() if wrap is pa.ListArray else pa.int64())
    assert keys_of({"kind": "list"}, wrap.from_arrays(offsets, array)) == expected


@settings(max_examples=tries(60))
@given(
    values=st.lists(st.none() | st.integers(-999, 999).map(lambda n: n / 100), max_size=6),
    data=st.data(),
)
def test_a_fraction_hashes_alike_in_every_width(values: list[Any], data: st.DataObject) -> None:
    """As the decimal it was written as, not as what 32 bits make of it."""
    array = held(values, data.draw(st.sampled_from(WIDTHS)))
    for field in (
        {"kind": "categorical", "dtype": "float"},
        {"kind": "number", "mantissa_bits": 8},
        {"kind": "number", "encoding": "quantile", "edges": (-0.7, 0.1, 0.3, 0.7)},
    ):
        oracle = FeatureOracle(config(x=field))
        expected = [[key for key, _ in oracle.row({"x": v})] for v in values]
        assert keys_of(field, array) == expected


@settings(max_examples=tries(60))
@given(values=st.lists(FLOATS | st.floats(1e-5, 1e17).map(lambda v: float(f"{v:.4g}")), max_size=8))
def test_floats_are_written_as_python_does(values: list[float]) -> None:
    field = {"kind": "categorical", "dtype": "float"}
    oracle = FeatureOracle(config(x=field))
    expected = [[key for key, _ in oracle.row({"x": v})] for v in values]
    assert keys_of(field, pa.array(values, pa.float64())) == expected


# -- dictionaries, renaming, errors -----------------------------------------------------------


def test_a_null_list_with_elements_under_it_is_missing() -> None:
    shown, hidden = pa.array(["a", "b", "c"]), pa.array([False, True])
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), shown, mask=hidden)
    assert keys_of({"kind": "list"}, lists) == keys_of({"kind": "list"}, pa.array([["a"], None]))


def test_a_shared_dictionary_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counting(array: pa.Array, seed: int) -> tuple[Any, Any]:
        hashed.append(len(array))
        return hash128(array, seed)

    monkeypatch.setattr("ftrl.features.hashing.hash128", counting)
    features = Features(config(x={"kind": "categorical"}))
    words = pa.array(["a", "b", "a", None, "c"] * 20).dictionary_encode()
    table = batch(x=words)
    for start in range(0, 100, 7):
        features.coordinates(table.slice(start, 7))
    assert hashed == [3]


def test_another_dictionary_in_recycled_memory_is_hashed_anew() -> None:
    features = Features(config(x={"kind": "categorical"}))
    for i in range(200):
        column = pa.array([f"{i}", f"{i + 1}"]).dictionary_encode()
        found = features.coordinates(batch(x=column)).keys.tolist()
        assert found == Hasher("x").keys(pa.array([f"{i}", f"{i + 1}"])).tolist()


def test_two_slices_of_one_dictionary_are_two_dictionaries() -> None:
    features, entries = Features(config(x={"kind": "categorical"})), pa.array(["a", "b", "c"])
    for start in (0, 1):
        part = entries.slice(start, 2)
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), part)
        found = features.coordinates(batch(x=column)).keys.tolist()
        assert found == Hasher("x").keys(part).tolist()


def test_a_renamed_field_keeps_its_coordinates_and_its_crosses() -> None:
    before = config("a^b", a={"kind": "categorical"}, b={"kind": "categorical"})
    after = config("new^b", new={"kind": "categorical", "hash_as": "a"}, b={"kind": "categorical"})
    x, y = pa.array(["1", None]), pa.array(["2", "3"])
    assert rows_of(Features(before).coordinates(batch(a=x, b=y))) == rows_of(
        Features(after).coordinates(batch(new=x, b=y))
    )


def test_a_served_column_may_be_absent() -> None:
    features = Features(
        config(place={"kind": "position", "serve_as": 0}, word={"kind": "categorical"})
    )
    words = pa.array(["a", "b"])
    served = features.coordinates(batch(word=words), serving=True)
    logged = features.coordinates(batch(position=pa.array([0, 0]), word=words))
    assert rows_of(served) == rows_of(logged)
    with pytest.raises(ValueError, match="no column 'position', which field 'place'"):
        features.coordinates(batch(word=words))


DAY = datetime.date(2020, 1, 1)


@pytest.mark.parametrize(
    ("field", "column", "message"),
    [
        ({"kind": "number"}, pa.array(["1"]), "'features.x': expected numbers, found .* string"),
        ({"kind": "list"}, pa.array(["1"]), "'features.x': expected lists, found .* string"),
        ({"kind": "list"}, pa.array([[[1]]]), "'features.x': cannot hash values of type list"),
        ({"kind": "categorical"}, pa.array([["a"]]), "'features.x': cannot hash values of type"),
        ({"kind": "categorical"}, pa.array([b"a"]), "'features.x': cannot hash values of type bin"),
        ({"kind": "categorical"}, pa.array([DAY]), "'features.x': cannot hash values of type date"),
        ({"kind": "categorical"}, pa.array([Decimal(1)]), "cannot hash values of type decimal"),
        ({"kind": "list"}, pa.array([["a"]], pa.list_(pa.string(), 1)), "expected lists, found .*"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(
    field: dict[str, Any], column: pa.Array, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Features(config(x=field)).coordinates(batch(x=column))


@pytest.mark.parametrize(
    ("kind", "serve_as"),
    [("categorical", 1), ("list", 1), ("boolean", 1), ("position", "0"), ("number", True)],
)
def test_serve_as_must_fit_the_field(kind: str, serve_as: object) -> None:
    with pytest.raises(ValueError, match="serve_as must be of type"):
        FieldConfig.model_validate({"kind": kind, "serve_as": serve_as})


@pytest.mark.parametrize(
    ("kind", "serve_as", "message"),
    [
        ("position", 2**63, "within 64 bits"),
        ("number", -(10**30), "within 64 bits"),
        ("number", float("nan"), "finite"),
    ],
)
def test_serve_as_must_be_a_value_that_logs_can_have(
    kind: str, serve_as: float, message: str
) -> None:
    with pytest.raises(ValueError, match=f"serve_as must be {message}"):
        FieldConfig.model_validate({"kind": kind, "serve_as": serve_as})
