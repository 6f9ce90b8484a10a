"""Features that have changed since a run began: what was read before lacks the columns of today."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import pyarrow as pa

from ftrl.features.compatibility import change
from ftrl.features.config import FeatureConfig
from streams.schema import FEATURE_PREFIX


class FormerNames:
    """Of each field that is new, or renamed, the names it had, the latest first.

    names: plain JSON; of a field that is new, none.
    """

    def __init__(self, names: Mapping[str, list[str]] | None = None) -> None:
        """names: default: every field was there from the beginning."""
        self.names = dict(names or {})

    def since(self, before: FeatureConfig, now: FeatureConfig) -> "FormerNames":
        """The same when the features have changed from `before` to `now`, as they may."""
        kept = change(before, now).names
        columns = {name for name, field in now.fields.items() if field.kind != "position"}
        names: dict[str, list[str]] = {name: [] for name in sorted(columns - set(kept.values()))}
        for old, new in kept.items():
            if old != new:
                names[new] = [old, *self.names.get(old, [])]
            elif old in self.names:
                names[new] = self.names[old]
        return FormerNames(names)

    def select(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        """The columns of `schema`; of a new or renamed field, where there is none, missing values.

        Raises KeyError with the names of those that are not there, or are of other types.
        """
        sources = self._sources(schema.names, set(batch.schema.names))
        columns = [self._column(batch, field, sources[field.name]) for field in schema]
        wrong = [field.name for field, found in zip(schema, columns, strict=True) if found is None]
        if wrong:
            raise KeyError(", ".join(wrong))
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def absent(self, names: Iterable[str]) -> list[str]:
        """The columns of new fields that are not among `names`, of a batch's columns."""
        there = set(names)
        return [
            FEATURE_PREFIX + name
            for name, former in self.names.items()
            if there.isdisjoint(FEATURE_PREFIX + each for each in (name, *former))
        ]

    def _sources(self, names: Sequence[str], there: Set[str]) -> dict[str, str | None]:
        """By the name of a column, the one of a batch (`there`) that holds it; None: none does."""
        found: dict[str, str | None] = {}
        for name in names:
            spellings = [name, *(FEATURE_PREFIX + each for each in self._former(name) or ())]
            found[name] = next((each for each in spellings if each in there), None)
        # Where a field still has its former name, no newer one of that name is there yet.
        taken = {source for name, source in found.items() if source != name}
        return {name: None if source == name in taken else source for name, source in found.items()}

    def _column(self, batch: pa.RecordBatch, field: pa.Field, source: str | None) -> Any:
        if source is None:
            known = self._former(field.name) is not None
            return pa.nulls(batch.num_rows, field.type) if known else None
        column = batch.column(batch.schema.get_all_field_indices(source)[0])
        return column if column.type == field.type else None

    def _former(self, column: str) -> list[str] | None:
        name = column.removeprefix(FEATURE_PREFIX)
        return self.names.get(name) if name != column else None
