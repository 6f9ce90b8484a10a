"""The records of the pipeline as Arrow schemas, built from the declared fields.

Every batch between rooms has one of these schemas. A feature is a flat column named
`features.<field>`; a row's position in its log travels as `src_offset`, `src_row`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import pyarrow as pa

FEATURE_PREFIX = "features."
CLICK = "click"
MAX_ID_BYTES = 128
DEFAULTS = {"offset": 0.0, "weight": 1.0}  # of an impression that does not say


class Kind(IntEnum):
    """What a labelled example is: `kind` of `EventSchema.labelled`."""

    FIRST = 0  # the first label of an impression
    CORRECTION = 1  # a click that came after it: the label is 1 now


ValueType = Literal["string", "int", "float", "bool", "list"]

# The Arrow type of each kind of value, without dictionaries.
PLAIN: dict[ValueType, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "list": pa.list_(pa.string()),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an impression's `features` object.

    name: the member's name. type: the JSON type its values must have.
    """

    name: str
    type: ValueType

    @property
    def column(self) -> str:
        """The name of its column in a batch."""
        return FEATURE_PREFIX + self.name

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of its column in a batch."""
        # Dictionaries: each distinct string of a batch is hashed, and written, once.
        return pa.dictionary(pa.int32(), pa.string()) if self.type == "string" else PLAIN[self.type]


POSITION_FIELDS = (
    pa.field("src_offset", pa.int64(), nullable=False),
    pa.field("src_row", pa.int64(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class EventSchema:
    """What the two logs may hold: feature fields, and click types (`click` is the first).

    All times are int64 milliseconds since the epoch, UTC. `weight` (ω₀) is finite and
    positive, 1 when absent; `offset` is a logit, 0 when absent.

    >>> schema = EventSchema((Field("city", "string"), Field("price", "float")))
    >>> [name for name in schema.impressions.names if name.startswith("features.")]
    ['features.city', 'features.price']
    """

    fields: tuple[Field, ...]
    click_types: tuple[str, ...] = (CLICK,)

    @property
    def impressions(self) -> pa.Schema:
        """An impression: id, ts, the optional columns, the features, its position."""
        return pa.schema(
            [
                pa.field("impression_id", pa.string(), nullable=False),
                pa.field("ts", pa.int64(), nullable=False),
                pa.field("offset", pa.float64(), nullable=False),
                pa.field("weight", pa.float64(), nullable=False),
                pa.field("query_id", pa.string()),
                pa.field("position", pa.int64()),
                pa.field("model_version", pa.string()),
                pa.field("served_p", pa.float64()),
                *(pa.field(f.column, f.arrow_type) for f in self.fields),
                *POSITION_FIELDS,
            ]
        )

    @property
    def clicks(self) -> pa.Schema:
        """A click: id, ts, its type as an index into `click_types`, its position."""
        return pa.schema(
            [
                pa.field("impression_id", pa.string(), nullable=False),
                pa.field("ts", pa.int64(), nullable=False),
                pa.field("impression_ts", pa.int64()),
                pa.field("type", pa.int8(), nullable=False),
                *POSITION_FIELDS,
            ]
        )

    @property
    def labelled(self) -> pa.Schema:
        """An impression's columns, then its labels and what the learner must know of them.

        `kind`: see `Kind`. `keep_rate`: r, the share of negatives kept.
        `kept`: whether its first label was emitted (false only on corrections of rows that
        were sampled out).
        """
        return pa.schema([*self.impressions, *label_fields(self.click_types)])


def label_fields(click_types: Sequence[str]) -> list[pa.Field]:
    """The columns a labelled example adds to its impression's."""
    others = [t for t in click_types if t != CLICK]
    return [
        pa.field("label", pa.int8(), nullable=False),
        *(pa.field(f"label_{t}", pa.int8(), nullable=False) for t in others),
        pa.field("click_ts", pa.int64()),
        pa.field("kind", pa.int8(), nullable=False),
        pa.field("keep_rate", pa.float64(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
    ]
