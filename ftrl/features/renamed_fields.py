"""Fields that were added or renamed since a run began: older batches lack today's columns."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import pyarrow as pa

from ftrl.features.compatibility import change
from ftrl.features.config import FeatureConfig
from streams.schema import FEATURE_PREFIX


class RenamedFields:
    """The fields that were added or renamed, and the names they had before.

    previous_names: by field, its names before, the latest first; [] for a field that is new. Plain
    JSON.
    """

    def __init__(self, previous_names: Mapping[str, list[str]] | None = None) -> None:
        """previous_names: default: every field was there from the beginning."""
        self.previous_names = dict(previous_names or {})

    def since(self, before: FeatureConfig, now: FeatureConfig) -> "RenamedFields":
        """The fields added or renamed so far, and those that changed from `before` to `now`."""
        kept = change(before, now).names
        columns = {name for name, field in now.fields.items() if field.kind != "position"}
        names: dict[str, list[str]] = {name: [] for name in sorted(columns - set(kept.values()))}
        for old, new in kept.items():
            if old != new:
                names[new] = [old, *self.previous_names.get(old, [])]
            elif old in self.previous_names:
                names[new] = self.previous_names[old]
        return RenamedFields(names)

    def select(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        """A batch's columns in `schema`, under today's names.

        A column that the batch lacks has missing values if its field was added or renamed. Raises
        KeyError with the names of other columns that are absent, or are of other types.
        """
        sources = self._sources(schema.names, set(batch.schema.names))
        columns = [self._column(batch, field, sources[field.name]) for field in schema]
        wrong = [
            field.name for field, column in zip(schema, columns, strict=True) if column is None
        ]
        if wrong:
            raise KeyError(", ".join(wrong))
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def absent(self, names: Iterable[str]) -> list[str]:
        """The columns of added or renamed fields that a batch with the columns `names` lacks."""
        present = set(names)
        return [
            FEATURE_PREFIX + name
            for name, previous in self.previous_names.items()
            if present.isdisjoint(FEATURE_PREFIX + each for each in (name, *previous))
        ]

    def _sources(self, names: Sequence[str], present: Set[str]) -> dict[str, str | None]:
        """By the name of a column, which of the `present` ones holds it; None: none does."""
        found: dict[str, str | None] = {}
        for name in names:
            spellings = [name, *(FEATURE_PREFIX + each for each in self._previous(name) or ())]
            found[name] = next((each for each in spellings if each in present), None)
        # A column under a field's previous name is that field's, whatever newer field has the name.
        taken = {source for name, source in found.items() if source != name}
        return {name: None if source == name in taken else source for name, source in found.items()}

    def _column(self, batch: pa.RecordBatch, field: pa.Field, source: str | None) -> Any:
        """The column named `source` if it is of the field's type; nulls if it may be missing."""
        if source is None:
            may_miss = self._previous(field.name) is not None
            return pa.nulls(batch.num_rows, field.type) if may_miss else None
        column = batch.column(batch.schema.get_all_field_indices(source)[0])
        return column if column.type == field.type else None

    def _previous(self, column: str) -> list[str] | None:
        """The previous names of a column's field; None if it was neither added nor renamed."""
        name = column.removeprefix(FEATURE_PREFIX)
        return self.previous_names.get(name) if name != column else None
