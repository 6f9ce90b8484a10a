"""Feature columns in every Arrow layout, and the coordinates they give as plain lists."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from ftrl.features.config import FeatureConfig, FieldConfig
from ftrl.features.coordinates import Coordinates, Features

Rows = list[list[tuple[int, float]]]


def config(*crosses: str, **fields: dict[str, Any]) -> FeatureConfig:
    return FeatureConfig(
        fields={name: FieldConfig(**field) for name, field in fields.items()}, crosses=crosses
    )


def batch(**columns: pa.Array) -> pa.RecordBatch:
    """Columns by field name; `position` is the impression's own."""
    names = [name if name == "position" else f"features.{name}" for name in columns]
    return pa.RecordBatch.from_arrays(list(columns.values()), names)


def rows_of(coordinates: Coordinates) -> Rows:
    keys = coordinates.keys.tolist()
    values = coordinates.values.tolist() or [1.0] * len(keys)
    pairs = list(zip(keys, values, strict=True))
    assert coordinates.keys.dtype == np.uint64
    assert coordinates.indptr.dtype == np.int64
    return [pairs[a:b] for a, b in itertools.pairwise(coordinates.indptr.tolist())]


def keys_of(field: dict[str, Any], column: pa.Array) -> list[list[int]]:
    """The keys of each row, for a single field named `x`."""
    found = rows_of(Features(config(x=field)).coordinates(batch(x=column)))
    return [[key for key, _ in row] for row in found]


INDICES = [pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]


def plain_type(field: FieldConfig) -> pa.DataType:
    names = {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    return names.get(field.value_type(), pa.list_(pa.string()))


@st.composite
def arrays(draw: st.DrawFn, values: list[Any], field: FieldConfig) -> pa.Array:
    """The values as an Arrow array in one of the layouts they may arrive in."""
    kind = plain_type(field)
    ahead, behind = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    padded = [*values[:ahead], *values, *values[:behind]]
    ahead = min(ahead, len(values))
    if kind == pa.string():
        kind = draw(st.sampled_from([pa.string(), pa.large_string()]))
    if pa.types.is_list(kind):
        inner = draw(st.sampled_from([pa.string(), pa.large_string()]))
        kind = draw(st.sampled_from([pa.list_(inner), pa.large_list(inner)]))
    array = pa.array(padded, kind, from_pandas=False)
    if not pa.types.is_list(kind) and not pa.types.is_large_list(kind) and draw(st.booleans()):
        array = as_dictionary(array, draw(st.sampled_from(INDICES)), draw(st.booleans()))
    if not any(v is not None for v in padded) and draw(st.booleans()):
        array = pa.nulls(len(padded))
    return array.slice(ahead, len(values))


def as_dictionary(array: pa.Array, index: pa.DataType, null_as_value: bool) -> pa.Array:
    """Dictionary-encoded, after an unused first entry; null as a null index or a null entry."""
    encoded = array.dictionary_encode(null_encoding="encode" if null_as_value else "mask")
    unused = pa.nulls(1, array.type)
    entries = pa.concat_arrays([unused, encoded.dictionary])
    indices = pa.array([None if i is None else i + 1 for i in encoded.indices.to_pylist()], index)
    return pa.DictionaryArray.from_arrays(indices, entries)
