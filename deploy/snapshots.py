"""Serving versions in the store: non-zero weights in q2.13, the bias, and a manifest.

    manifest/00000007         JSON, with a digest of itself and of every page
    keys/00000007/00000       uint64, ascending over the version
    weights/00000007/00000    int16 in q2.13, beside the keys

A version is written once, in one atomic write, and never changed.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
from pydantic import ValidationError

from deploy.store import Store, StoreError
from deploy.training import Cut
from ftrl.config import FeatureConfig
from ftrl.learner import Learner
from ftrl.serving import ServingTable, serving_weights
from streams.jit import I16, U64

PAGE = 65_536  # slots


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a serving version is: where it comes from, what it holds, and its digests.

    ts: the event-time mark it was made at, ms, or None for the end of the input. cut: what had
    been learned from. weights: how many are non-zero. saturated: how many were outside q2.13's
    [-4, 4). bias: float64, exact. pages: (keys, weights) digests of each page.
    """

    version: int
    parent: int | None
    made_by: str
    ts: int | None
    cut: Cut
    features: FeatureConfig
    click_types: tuple[str, ...]
    weights: int
    saturated: int
    bias: float
    pages: tuple[tuple[str, str], ...]

    @property
    def bytes(self) -> int:
        """Bytes of its keys and weights."""
        return self.weights * (np.dtype(np.uint64).itemsize + np.dtype(np.int16).itemsize)

    def summary(self) -> dict[str, Any]:
        """One line of a listing."""
        return {
            "version": self.version,
            "ts": self.cut.ts if self.ts is None else self.ts,
            "examples": self.cut.examples,
            "nonzero": self.weights,
            "bytes": self.bytes,
        }

    def to_json(self) -> dict[str, Any]:
        """Every field as plain JSON; the bias in hexadecimal, so that no digit is lost."""
        return {
            "version": self.version,
            "parent": self.parent,
            "kind": "full",
            "made_by": self.made_by,
            "ts": self.ts,
            "cut": {"examples": self.cut.examples, "ts": self.cut.ts, "place": self.cut.place},
            "features": self.features.model_dump(mode="json"),
            "click_types": self.click_types,
            "weights": self.weights,
            "saturated": self.saturated,
            "bias": self.bias.hex(),
            "pages": self.pages,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Manifest":
        """The manifest that `to_json` gave. Raises KeyError, TypeError or ValueError."""
        cut = values["cut"]
        place = cut["place"]
        return cls(
            version=values["version"],
            parent=values["parent"],
            made_by=values["made_by"],
            ts=values["ts"],
            cut=Cut(cut["examples"], cut["ts"], None if place is None else (place[0], place[1])),
            features=FeatureConfig.model_validate(values["features"]),
            click_types=tuple(values["click_types"]),
            weights=values["weights"],
            saturated=values["saturated"],
            bias=float.fromhex(values["bias"]),
            pages=tuple((k, w) for k, w in values["pages"]),
        )


def publish(
    store: Store,
    learner: Learner,
    *,
    features: FeatureConfig,
    click_types: tuple[str, ...],
    cut: Cut,
    ts: int | None,
) -> Manifest:
    """Write the learner's non-zero weights as the next serving version.

    features: the configuration with learned quantile edges filled in. ts: the event-time mark,
    or None at the end. Raises StoreError.
    """
    parent = newest(store)
    number = 1 if parent is None else parent + 1
    keys, weights, saturated = serving_weights(
        *learner.weights(), seed=learner.settings.seed, variant=number
    )
    puts: dict[bytes, bytes] = {}
    pages = []
    for index, start in enumerate(range(0, len(keys), PAGE)):
        page = keys[start : start + PAGE].tobytes(), weights[start : start + PAGE].tobytes()
        puts[_key("keys", number, index)], puts[_key("weights", number, index)] = page
        pages.append((_digest(page[0]), _digest(page[1])))
    manifest = Manifest(
        version=number,
        parent=parent,
        made_by=f"clickloop {package_version('clickloop')}",
        ts=ts,
        cut=cut,
        features=features,
        click_types=click_types,
        weights=len(keys),
        saturated=saturated,
        bias=learner.bias,
        pages=tuple(pages),
    )
    values = manifest.to_json()
    puts[_key("manifest", number)] = _canonical({**values, "digest": _digest(_canonical(values))})
    store.write(puts)
    return manifest


def versions(store: Store) -> Iterator[Manifest]:
    """The manifests of all versions, oldest first. Raises StoreError."""
    for number in _numbers(store):
        yield manifest_of(store, number)


def remove_after(store: Store, number: int) -> None:
    """Remove the versions above `number`: a resumed run makes them again, to the same bytes."""
    for later in _numbers(store):
        if later > number:
            store.write({}, deletes=tuple(_keys(store, later)))


def newest(store: Store) -> int | None:
    """The highest version number, or None when there is none."""
    return max(_numbers(store), default=None)


def chosen(store: Store, number: int | None) -> Manifest:
    """The manifest of version `number`, or of the newest. Raises StoreError."""
    if number is None:
        number = newest(store)
    if number is None:
        raise StoreError(f"{store.path}: no serving version yet; a replay publishes them")
    return manifest_of(store, number)


def manifest_of(store: Store, number: int) -> Manifest:
    """The manifest of version `number`, its digest checked. Raises StoreError."""
    value = store.get(_key("manifest", number))
    if value is None:
        have = ", ".join(str(n) for n in _numbers(store)) or "none"
        raise StoreError(f"{store.path}: no serving version {number}; there are: {have}")
    try:
        values = json.loads(value)
        digest = values.pop("digest", None)
        if digest != _digest(_canonical(values)) or values["version"] != number:
            raise ValueError("its digest does not fit")
        return Manifest.from_json(values)
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise StoreError(
            f"{store.path}: the manifest of serving version {number} is damaged ({error}); "
            "score with another version (`clickloop snapshots list`)"
        ) from error


def weights_of(store: Store, manifest: Manifest) -> tuple[U64, I16]:
    """Keys (uint64, ascending) and q2.13 weights (int16) of a version, checksums verified.

    Raises StoreError that names the page which is missing or does not fit its digest.
    """
    keys, weights = [], []
    for index, (key_digest, weight_digest) in enumerate(manifest.pages):
        keys.append(_page(store, manifest.version, "keys", index, key_digest))
        weights.append(_page(store, manifest.version, "weights", index, weight_digest))
    all_keys: U64 = np.frombuffer(b"".join(keys), dtype=np.uint64)
    all_weights: I16 = np.frombuffer(b"".join(weights), dtype=np.int16)
    if not len(all_keys) == len(all_weights) == manifest.weights:
        raise StoreError(
            f"{store.path}: serving version {manifest.version} holds {len(all_keys)} keys and "
            f"{len(all_weights)} weights, its manifest says {manifest.weights}; score with "
            "another version (`clickloop snapshots list`)"
        )
    return all_keys, all_weights


def load(store: Store, number: int | None = None) -> tuple[Manifest, ServingTable]:
    """Version `number`, or the newest, verified and ready to serve. Raises StoreError."""
    manifest = chosen(store, number)
    keys, weights = weights_of(store, manifest)
    return manifest, ServingTable(keys, weights, manifest.bias)


def _numbers(store: Store) -> list[int]:
    return [int(key.split(b"/")[1]) for key in store.keys(b"manifest/")]


def _keys(store: Store, number: int) -> Iterator[bytes]:
    yield _key("manifest", number)
    for part in ("keys", "weights"):
        yield from store.keys(_key(part, number) + b"/")


def _page(store: Store, number: int, column: str, index: int, digest: str) -> bytes:
    value = store.get(_key(column, number, index))
    if value is None or _digest(value) != digest:
        state = "is missing" if value is None else "does not fit its digest"
        raise StoreError(
            f"{store.path}: page {index} of the {column} of serving version {number} {state}; "
            "score with another version (`clickloop snapshots list`)"
        )
    return value


def _key(part: str, number: int, page: int | None = None) -> bytes:
    return f"{part}/{number:08d}{'' if page is None else f'/{page:05d}'}".encode()


def _canonical(values: dict[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def _digest(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=16).hexdigest()
