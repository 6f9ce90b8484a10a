"""Encoding rows for sending: as the columns of an Arrow message, or as a JSON object each."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.record import FEATURES, RecordType
from streams.schema import DEFAULTS, ValueType

_SPECIAL = r'[\x00-\x1f"\\]'  # what JSON strings must escape


def message_columns(rows: pa.RecordBatch, record: RecordType) -> pa.RecordBatch:
    """The columns of an Arrow message with these rows, which are in the record's Arrow schema."""
    columns = {name: rows.column(name) for name in record.column_types}
    if record.source == "clicks":
        columns["type"] = pa.array(record.schema.click_types, pa.string()).take(columns["type"])
    return pa.record_batch(columns)


def json_objects(rows: pa.RecordBatch, record: RecordType) -> pa.Array:
    """Each row of an Arrow message's columns as a JSON object; nulls are left out.

    Returns binaries of UTF-8. Column by column, so that a row costs no Python.
    """
    members = [_member(name, rows.column(name), kind) for name, kind in record.members.items()]
    if record.source == "impressions":
        fields = [_member(f.name, rows.column(f.column), f.type) for f in record.fields]
        members.append(_joined(f",{json.dumps(FEATURES)}:", _object(fields, len(rows))))
    return _object(members, len(rows)).cast(pa.binary())


def _object(members: list[pa.Array], rows: int) -> pa.Array:
    empty = pa.array([""]).take(pa.array(np.zeros(rows, np.int64)))
    # Every member begins with a comma, the first one too.
    return _joined("{", pc.ascii_ltrim(_joined(*members, empty), ","), "}")


def _member(name: str, array: pa.Array, kind: ValueType) -> pa.Array:
    """`,"name":value` of each row; the empty string where the value is null or the default."""
    if name in DEFAULTS and kind == "float":
        array = pc.if_else(pc.equal(array, DEFAULTS[name]), None, array)
    if kind == "string":
        text = _quoted(array)
    elif kind == "list":
        text = _listed(array)
    else:
        text = array.cast(pa.string())
    return _joined("," + json.dumps(name, ensure_ascii=False) + ":", text).fill_null("")


def _quoted(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return _quoted(array.dictionary).take(array.indices)
    special = pc.match_substring_regex(array, _SPECIAL)
    quoted = _joined('"', array, '"')
    if special.true_count == 0:
        return quoted
    texts = array.filter(special).to_pylist()
    escaped = [json.dumps(text, ensure_ascii=False) for text in texts]
    return pc.replace_with_mask(quoted, special.fill_null(False), pa.array(escaped, pa.string()))


def _listed(lists: pa.Array) -> pa.Array:
    quoted = _quoted(lists.flatten())
    sizes = pc.list_value_length(lists).fill_null(0)
    offsets = pa.array([0, *pc.cumulative_sum(sizes).to_pylist()], pa.int32())
    bare = pa.ListArray.from_arrays(offsets, quoted)
    text = _joined("[", pc.binary_join(bare, ","), "]")
    return pc.if_else(lists.is_null(), None, text)


def _joined(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")
