"""What the model sees of an impression: fields, how they are encoded, and crosses.

The whole configuration travels in every snapshot; a scorer uses only that copy.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from streams import schema
from streams.schema import EventSchema

FieldKind = Literal["categorical", "list", "number", "boolean", "position"]
POSITION = "position"  # the impression's own optional column
MOST_PARTS = 3  # of a cross: values of more hardly ever recur, and lists would give too many

_SERVABLE: dict[schema.ValueType, tuple[type, ...]] = {
    "string": (str,),
    "list": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}


class FieldConfig(BaseModel, frozen=True, extra="forbid"):
    """How one field of the impressions becomes coordinates."""

    kind: FieldKind = Field(
        description="What the field is: `categorical` (one value), `list` (of strings, one "
        "coordinate for each distinct element), `number`, `boolean`, or `position` (the "
        "impression's own `position`, a whole number)."
    )
    dtype: Literal["string", "int", "float", "bool"] = Field(
        default="string",
        description="The JSON type a `categorical` field's values have in the logs.",
    )
    hash_as: str | None = Field(
        default=None,
        description="The name to hash under, so that a renamed field keeps its weights. "
        "Default: the field's own name.",
    )
    serve_as: str | int | float | bool | None = Field(
        default=None,
        description="The value every candidate gets when scoring (position 0, for example), "
        "unless scoring as logged. Default: the candidate's own value.",
    )
    encoding: Literal["bucket", "value", "quantile"] = Field(
        default="bucket",
        description="For `number`: `bucket` (logarithmic buckets taken from the bits of the "
        "float), `value` (one coordinate that carries the value), or `quantile` (buckets "
        "between `edges`).",
    )
    mantissa_bits: Annotated[int, Field(ge=0, le=8)] = Field(
        default=1,
        description="For `bucket`: 2^m buckets an octave. Range 0 to 8.",
    )
    quantiles: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=20,
        description="For `quantile` without `edges`: how many buckets. Range 2 to 1000.",
    )
    learn_edges_from: Annotated[int, Field(ge=100)] = Field(
        default=10_000,
        description="For `quantile` without `edges`: the edges are learned from so many "
        "values, then frozen; until then the field gives no coordinate. At least 100 values.",
    )
    edges: tuple[float, ...] | None = Field(
        default=None,
        description="For `quantile`: the inner edges, ascending. Default: learned.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        edges = list(self.edges or ())
        if edges != sorted(set(edges)) or not all(map(math.isfinite, edges)):
            raise ValueError("edges must be finite, distinct and ascending")
        kind = self.value_type()
        if self.serve_as is not None and type(self.serve_as) not in _SERVABLE[kind]:
            expected = "string" if kind == "list" else kind
            raise ValueError(f"serve_as must be of type {expected}, as the field's values are")
        if isinstance(self.serve_as, int) and not -(2**63) <= self.serve_as < 2**63:
            raise ValueError("serve_as must be within 64 bits, as whole numbers in the logs are")
        if isinstance(self.serve_as, float) and not math.isfinite(self.serve_as):
            raise ValueError("serve_as must be finite, as numbers in the logs are")
        return self

    def value_type(self) -> schema.ValueType:
        """The JSON type of the field's values."""
        match self.kind:
            case "list":
                return "list"
            case "number":
                return "float"
            case "boolean":
                return "bool"
            case "position":
                return "int"
            case "categorical":
                return self.dtype


class FeatureConfig(BaseModel, frozen=True, extra="forbid"):
    """The fields of an impression's `features`, by name, and the crosses between them."""

    fields: dict[str, FieldConfig] = Field(
        description="One table for each field, by its name in the logs; the order is kept."
    )
    crosses: tuple[str, ...] = Field(
        default=(),
        description="Products of two or three different fields, such as `item_id^platform`; each "
        "part is a field above, and each combination of their values is a coordinate of its own.",
    )

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: dict[str, FieldConfig]) -> dict[str, FieldConfig]:
        if not fields:
            raise ValueError("declare at least one field")
        wrong = [name for name in fields if not name or "^" in name]
        if wrong:
            raise ValueError(f"field names must not be empty or contain '^': {wrong}")
        return fields

    @field_validator("crosses")
    @classmethod
    def _check_crosses(cls, crosses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        fields: dict[str, FieldConfig] | None = info.data.get("fields")
        problems = []
        for cross in crosses:
            parts = cross.split("^")
            if not 2 <= len(parts) <= MOST_PARTS or len(set(parts)) != len(parts):
                problems.append(f"cross {cross!r}: name two or three different fields")
            if fields is None:  # the fields have mistakes of their own, listed beside these
                continue
            unknown = [part for part in parts if part not in fields]
            if unknown:
                problems.append(f"cross {cross!r}: no such field: {', '.join(unknown)}")
            for part in parts:
                field = fields.get(part)
                if field and field.kind == "number" and field.encoding == "value":
                    problems.append(
                        f"cross {cross!r}: {part} carries a value; use encoding 'bucket'"
                    )
        if len(set(crosses)) != len(crosses):
            problems.append("the same cross is listed twice")
        if problems:
            raise ValueError("; ".join(problems))
        return crosses

    def event_schema(self, click_types: tuple[str, ...] = (schema.CLICK,)) -> EventSchema:
        """The records these features are read from."""
        return EventSchema(
            tuple(
                schema.Field(name, field.value_type())
                for name, field in self.fields.items()
                if field.kind != "position"
            ),
            click_types,
        )
