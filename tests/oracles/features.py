"""Feature hashing by the book: one row, one value, one hash at a time."""

import itertools
import math
import struct
from typing import Any

import mmh3

from ftrl.features.config import FeatureConfig, FieldConfig

MASK = 2**64 - 1


def hash_bytes(text: str, seed: int) -> int:
    return mmh3.hash64(text.encode("utf-8"), seed, signed=False)[0] or 1


def fmix64(k: int) -> int:
    k = ((k ^ (k >> 33)) * 0xFF51AFD7ED558CCD) & MASK
    k = ((k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53) & MASK
    return k ^ (k >> 33)


def cross(name: str, parts: tuple[int, ...]) -> int:
    h = mmh3.hash(name, 0, signed=False)
    for part in parts:
        h = fmix64((h * 0x9E3779B97F4A7C15 + part) & MASK)
    return h or 1


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def text(value: Any) -> str:
    """The characters a categorical value hashes as."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        integral = math.isfinite(value) and value == int(value) and abs(value) < 1e16
        return str(int(value)) if integral else repr(value)
    return str(value)


def bucket(value: float, mantissa_bits: int) -> str:
    (bits,) = struct.unpack("<q", struct.pack("<d", abs(value)))
    number = bits >> (52 - mantissa_bits)
    return f"b{-number if value < 0 else number}"


class FeatureOracle:
    """Coordinates row by row, in order: quantile edges appear as soon as they are learned."""

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self.edges: dict[str, list[float]] = {}
        self.samples: dict[str, list[float]] = {}
        for name, field in config.fields.items():
            if field.edges is not None:
                self.edges[name] = list(field.edges)

    def row(self, row: dict[str, Any], serving: bool = False) -> list[tuple[int, float]]:
        """(key, value) of each coordinate. row: field name, or `position`, to value."""
        return [coordinate for part in self.parts(row, serving).values() for coordinate in part]

    def parts(
        self, row: dict[str, Any], serving: bool = False
    ) -> dict[str, list[tuple[int, float]]]:
        """(key, value) of each coordinate of a row, by field and cross."""
        parts: dict[str, list[tuple[int, float]]] = {}
        for name, field in self.config.fields.items():
            value = row.get("position" if field.kind == "position" else name)
            if serving and field.serve_as is not None:
                value = [field.serve_as] if field.kind == "list" else field.serve_as
            parts[name] = self.field(name, field, value, serving)
        for crossed in self.config.crosses:
            names = crossed.split("^")
            hashed_as = "^".join(self.hash_name(n) for n in names)
            keys = [[key for key, _ in parts[n]] for n in names]
            parts[crossed] = [(cross(hashed_as, each), 1.0) for each in itertools.product(*keys)]
        return parts

    def hash_name(self, name: str) -> str:
        renamed = self.config.fields[name].hash_as
        return name if renamed is None else renamed

    def field(
        self, name: str, field: FieldConfig, value: Any, serving: bool
    ) -> list[tuple[int, float]]:
        seed = mmh3.hash(self.hash_name(name), 0, signed=False)
        missing = [(hash_bytes("", seed ^ 0xFFFFFFFF), 1.0)]
        if field.kind == "number" and field.encoding == "quantile":
            if name not in self.edges:
                if not serving:
                    self.learn_edges(name, field, value)
                return []
            if is_missing(value):
                return missing
            passed = sum(edge <= value for edge in self.edges[name])
            return [(hash_bytes(f"q{passed}", seed), 1.0)]
        if field.kind == "list":
            elements = dict.fromkeys(e for e in value or [] if e is not None)
            return [(hash_bytes(e, seed), 1.0) for e in elements] or missing
        if is_missing(value):
            return missing
        if field.kind == "number" and field.encoding == "value":
            return [(hash_bytes("", seed), float(value))] if math.isfinite(value) else missing
        if field.kind == "number":
            return [(hash_bytes(bucket(float(value), field.mantissa_bits), seed), 1.0)]
        return [(hash_bytes(text(value), seed), 1.0)]

    def learn_edges(self, name: str, field: FieldConfig, value: Any) -> None:
        sample = self.samples.setdefault(name, [])
        if not is_missing(value) and math.isfinite(value):
            sample.append(value)
        if len(sample) == field.learn_edges_from:
            ranked = sorted(sample)
            cuts = (k * len(ranked) // field.quantiles for k in range(1, field.quantiles))
            self.edges[name] = sorted({ranked[cut] for cut in cuts})
