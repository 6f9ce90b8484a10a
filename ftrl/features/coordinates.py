"""An event batch as sparse rows of 64-bit coordinates: one for each field and each cross.

`Features(config).coordinates(batch)` is all that a learner or a scorer needs. A row's coordinates
come in the order of the configuration, fields before crosses. Within a list each element
counts once; two fields that hash under the same name may give the same coordinate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from ftrl.features.config import POSITION, FeatureConfig, FieldConfig
from ftrl.features.hashing import NONE, Hashed, Hasher, cross, distinct, name_seed
from ftrl.features.numeric import Bucket, Quantile, Value
from ftrl.settings import AdmissionSettings
from streams.compute.arrays import F64, I64, U8, U64
from streams.compute.jit import kernel
from streams.schema import FEATURE_PREFIX


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A batch as a sparse matrix in compressed rows.

    indptr: I64 [rows + 1], row i has `keys[indptr[i]:indptr[i + 1]]`. keys: U64 [nnz], never
    0. values: F64 [nnz], or of length 0 where every value is 1. thresholds: U8 [nnz], after how
    many sightings each is admitted, or of length 0 where no field has a threshold of its own.
    """

    indptr: I64
    keys: U64
    values: F64
    thresholds: U8


class Categorical:
    """One coordinate for the value of a row; also for booleans and positions."""

    def __init__(self, name: str) -> None:
        """name: what to hash under."""
        self._hasher = Hasher(name)

    def encode(self, column: pa.Array) -> Hashed:
        """One coordinate a row; null and NaN are missing."""
        return Hashed(self._hasher.keys(column))


class Elements:
    """One coordinate for each distinct element of a row's list.

    Null elements are ignored, so a list of nulls is as missing as an empty one.
    """

    def __init__(self, name: str) -> None:
        """name: what to hash under."""
        self._hasher = Hasher(name, null=NONE)

    def encode(self, column: pa.Array) -> Hashed:
        """At least one coordinate a row. Raises ValueError if the column is not of lists."""
        kind = column.type
        if pa.types.is_null(kind):
            column = column.cast(pa.list_(pa.string()))
        elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            raise ValueError(f"expected lists, found values of type {kind}")
        offsets = column.offsets.to_numpy().astype(np.int64)
        elements = column.values.slice(offsets[0], offsets[-1] - offsets[0])
        offsets -= offsets[0]
        starts, ends = offsets[:-1], offsets[1:]
        if column.null_count:
            ends = np.where(column.is_null().to_numpy(zero_copy_only=False), starts, ends)
        return distinct(starts, ends, self._hasher.keys(elements), self._hasher.missing)


Encoder = Categorical | Elements | Bucket | Value | Quantile


class Features:
    """Turns batches into coordinates; learns quantile edges where the configuration has none.

    >>> config = FeatureConfig(fields={"city": FieldConfig(kind="categorical")})
    >>> batch = pa.RecordBatch.from_pydict({"features.city": ["Bern", "Rome", "Bern"]})
    >>> keys = Features(config).coordinates(batch).keys
    >>> (keys == keys[0]).tolist()
    [True, False, True]
    """

    def __init__(
        self,
        config: FeatureConfig,
        *,
        learn: bool = True,
        admission: AdmissionSettings | None = None,
    ) -> None:
        """config: fields and crosses. admission: with the thresholds of some of these, if any.

        learn: whether to learn the edges that the configuration lacks. A scorer passes False: a
        field without edges gives it no coordinate, as in training until the edges are known.
        """
        self._config = config
        self._learn = learn
        hash_names = {
            name: name if field.hash_as is None else field.hash_as
            for name, field in config.fields.items()
        }
        self._encoders = {
            name: _encoder(field, hash_names[name]) for name, field in config.fields.items()
        }
        # A cross of a renamed field keeps its hash too.
        self._crosses = [
            (name_seed("^".join(hash_names[part] for part in parts)), parts)
            for parts in (name.split("^") for name in config.crosses)
        ]
        self._thresholds = np.empty(0, np.uint8)
        if admission is not None and admission.thresholds:
            named = [*config.fields, *config.crosses]
            thresholds = [admission.thresholds.get(name, admission.admit_after) for name in named]
            self._thresholds = np.array(thresholds, np.uint8)

    def coordinates(self, batch: pa.RecordBatch, *, serving: bool = False) -> Coordinates:
        """The batch's coordinates.

        batch: whole or sliced, with a column `features.<name>` for each field, and `position` for
        a field of that kind. A column holds strings (small or large), integers, floats, booleans,
        dictionaries of these, or lists of any of them; a value has the same coordinate in all types
        that can represent it. Null, NaN and the empty list are missing. serving: whether
        `serve_as`, where set, stands for the whole column (which may then be absent); no edges are
        learned then. Raises ValueError, naming the column, if a column is absent or its type cannot
        be hashed.
        """
        parts = {name: self._encode(name, batch, serving) for name in self._encoders}
        crosses = [cross(seed, [parts[name] for name in names]) for seed, names in self._crosses]
        return _side_by_side([*parts.values(), *crosses], batch.num_rows, self._thresholds)

    def state(self) -> dict[str, dict[str, list[float]]]:
        """The learned edges as plain data: by field, its `edges`, or the `sample` so far."""
        return {name: quantile.state() for name, quantile in self._learners().items()}

    def restore(self, state: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
        """Continue from a `state()`; fields that it lacks have yet to learn their edges.

        Raises ValueError if it has fields whose edges this configuration does not learn.
        """
        learners = self._learners()
        if not state.keys() <= learners.keys():
            raise ValueError(
                f"the state has learned edges of {sorted(state)}, the configuration learns "
                f"those of {sorted(learners)}; restore with the configuration it was saved with"
            )
        for name, saved in state.items():
            learners[name].restore(saved)

    def frozen_config(self) -> FeatureConfig:
        """The configuration with the learned edges filled in, as far as they are known."""
        fields = dict(self._config.fields)
        for name, quantile in self._learners().items():
            if quantile.edges is not None:
                edges = tuple(quantile.edges.tolist())
                fields[name] = fields[name].model_copy(update={"edges": edges})
        return self._config.model_copy(update={"fields": fields})

    def _learners(self) -> dict[str, Quantile]:
        return {
            name: encoder
            for name, encoder in self._encoders.items()
            if isinstance(encoder, Quantile) and self._config.fields[name].edges is None
        }

    def _encode(self, name: str, batch: pa.RecordBatch, serving: bool) -> Hashed:
        field, encoder = self._config.fields[name], self._encoders[name]
        if serving and field.serve_as is not None:
            value = [field.serve_as] if field.kind == "list" else field.serve_as
            return encoder.encode(pa.array([value]).take(np.zeros(batch.num_rows, np.int64)))
        label = POSITION if field.kind == "position" else FEATURE_PREFIX + name
        index = batch.schema.get_field_index(label)
        if index < 0:
            raise ValueError(
                f"the batch has no column {label!r}, which field {name!r} is read from"
            )
        column = batch.column(index)
        try:
            if isinstance(encoder, Quantile) and self._learn and not serving:
                return encoder.learn_and_encode(column)
            return encoder.encode(column)
        except ValueError as error:
            raise ValueError(f"column {label!r}: {error}") from error


def _encoder(field: FieldConfig, name: str) -> Encoder:
    if field.kind == "list":
        return Elements(name)
    if field.kind != "number":
        return Categorical(name)
    match field.encoding:
        case "bucket":
            return Bucket(name, field.mantissa_bits)
        case "value":
            return Value(name)
        case "quantile":
            return Quantile(name, field.edges, field.quantiles, field.learn_edges_from)


def _side_by_side(parts: Sequence[Hashed], rows: int, thresholds: U8) -> Coordinates:
    """Each row's coordinates of all parts, part after part; thresholds: of each part, or none."""
    single = sum(part.indptr is None for part in parts)
    indptr = np.arange(rows + 1) * single
    for part in parts:
        if part.indptr is not None:
            indptr += part.indptr
    nnz = int(indptr[-1])
    carried = any(part.values is not None for part in parts)
    keys, values = np.empty(nnz, np.uint64), np.ones(nnz if carried else 0)
    free = indptr[:-1].copy()
    for one_each, neighbours in groupby(parts, lambda part: part.indptr is None):
        adjacent = list(neighbours)
        if one_each:
            _copy_columns(np.stack([part.keys for part in adjacent]), free, keys)
            for i, part in enumerate(adjacent):
                if part.values is not None:
                    values[free + i] = part.values
            free += len(adjacent)
            continue
        for part in adjacent:
            pointers = part.pointers()
            _copy_ragged(part.keys, pointers, free, keys)
            free += np.diff(pointers)
    if len(thresholds):
        lengths = np.stack([np.diff(part.pointers()) for part in parts], axis=1)
        thresholds = np.repeat(np.tile(thresholds, rows), lengths.ravel())
    return Coordinates(indptr, keys, values, thresholds)


@kernel
def _copy_columns(columns: U64, free: I64, out: U64) -> None:
    """Copy each row of `columns` [parts, rows] to `out` from index `free[row]` on."""
    for row in range(free.size):
        start = free[row]
        for part in range(columns.shape[0]):
            out[start + part] = columns[part, row]


@kernel
def _copy_ragged(source: U64, pointers: I64, free: I64, out: U64) -> None:
    """Copy each row's `source[pointers[row]:pointers[row + 1]]` to `out` from `free[row]` on."""
    for row in range(free.size):
        target = free[row]
        for i in range(pointers[row], pointers[row + 1]):
            out[target] = source[i]
            target += 1
