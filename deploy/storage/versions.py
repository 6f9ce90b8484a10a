"""Serving versions in the store: non-zero weights in q2.13, the bias, and a manifest.

    manifest/00000007         JSON, with a digest of itself and of every page
    keys/00000007/00000       uint64, ascending over the version
    weights/00000007/00000    int16 in q2.13, beside the keys

Of a learner of layout q2.13 a key is a group and a tag (`ftrl.table.layout`), and the manifest says
how many groups there are:

    groups/00000007/00000     uint16, how many keys each group has
    keys/00000007/00000       uint32, the tags, ascending in each group

A version holds all weights. For those who hold the one before, it also says whose weight is gone:

    gone/00000007/00000       uint64, ascending over the version

A version is written once, in one atomic write, and never changed.
"""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from deploy.storage.manifest import COLUMNS, Manifest
from deploy.storage.rocksdb import Store, StoreError
from ftrl import Cut, Learner
from ftrl.features import FeatureConfig
from ftrl.serving import (
    GroupedKeys,
    GroupedServingTable,
    Served,
    ServingTable,
    grouped_keys,
    serving_weights,
)
from ftrl.table import keys_of
from streams.compute.arrays import U64

PAGE = 65_536  # weights, or groups


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
    columns: dict[str, npt.NDArray[Any]] = {"keys": keys, "weights": weights}
    if learner.groups:
        counts, tags = grouped_keys(keys, learner.groups)
        columns |= {"groups": counts, "keys": tags}
    if parent is not None:
        before = keys_of_version(store, manifest_of(store, parent))
        columns["gone"] = np.setdiff1d(before, keys, assume_unique=True)
    puts: dict[bytes, bytes] = {}
    pages = {name: _put(puts, name, number, column) for name, column in columns.items()}
    manifest = Manifest(
        version=number,
        parent=parent,
        made_by=f"clickloop {package_version('clickloop')}",
        ts=ts,
        cut=cut,
        features=features,
        click_types=click_types,
        groups=learner.groups,
        weights=len(keys),
        saturated=saturated,
        gone=len(columns.get("gone", ())),
        bias=learner.bias,
        pages=tuple(zip(pages["keys"], pages["weights"], strict=True)),
        group_pages=pages.get("groups", ()),
        gone_pages=pages.get("gone", ()),
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


def weights_of(store: Store, manifest: Manifest) -> Served:
    """The weights of a version, its checksums verified, ready to serve.

    Raises StoreError that names the page which is missing or does not fit its digest.
    """
    columns = _columns(store, manifest)
    keys, weights = columns["keys"], columns["weights"]
    try:
        if len(keys) != manifest.weights:
            raise ValueError(f"{len(keys)} keys")
        if not manifest.groups:
            return ServingTable(keys, weights, manifest.bias)
        counts = columns["groups"]
        if len(counts) != manifest.groups:
            raise ValueError(f"{len(counts)} groups")
        return GroupedServingTable(GroupedKeys(counts, keys), weights, manifest.bias)
    except ValueError as error:
        raise StoreError(
            f"{store.path}: serving version {manifest.version} holds {error}; its manifest says "
            f"{manifest.weights} weights in {manifest.groups} groups; score with another version "
            "(`clickloop snapshots list`)"
        ) from error


def keys_of_version(store: Store, manifest: Manifest) -> U64:
    """The keys that have a weight in a version, uint64, ascending; of groups and tags the least.

    Raises StoreError as `weights_of` does.
    """
    columns = _columns(store, manifest)
    if not manifest.groups:
        return columns["keys"]
    of_keys = np.repeat(np.arange(manifest.groups), columns["groups"])
    return keys_of(of_keys, columns["keys"], manifest.groups)


def gone_since_parent(store: Store, manifest: Manifest) -> U64:
    """The keys, uint64, ascending, that had a weight in the version before and have none here.

    Raises StoreError as `weights_of` does.
    """
    return _column(store, manifest, "gone", np.dtype(np.uint64), manifest.gone_pages)


def load(store: Store, number: int | None = None) -> tuple[Manifest, Served]:
    """Version `number`, or the newest, verified and ready to serve. Raises StoreError."""
    manifest = chosen(store, number)
    return manifest, weights_of(store, manifest)


def _numbers(store: Store) -> list[int]:
    return [int(key.split(b"/")[1]) for key in store.keys(b"manifest/")]


def _keys(store: Store, number: int) -> Iterator[bytes]:
    yield _key("manifest", number)
    for part in COLUMNS:
        yield from store.keys(_key(part, number) + b"/")


def _put(
    puts: dict[bytes, bytes], name: str, number: int, column: npt.NDArray[Any]
) -> tuple[str, ...]:
    """Add the pages of a column to `puts`; returns their digests."""
    digests = []
    for index, start in enumerate(range(0, len(column), PAGE)):
        page = column[start : start + PAGE].tobytes()
        puts[_key(name, number, index)] = page
        digests.append(_digest(page))
    return tuple(digests)


def _columns(store: Store, manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """What a version is stored as, by name, its checksums verified. Raises StoreError."""
    digests = {
        "keys": tuple(keys for keys, _ in manifest.pages),
        "weights": tuple(weights for _, weights in manifest.pages),
        "groups": manifest.group_pages,
    }
    return {
        name: _column(store, manifest, name, dtype, digests[name])
        for name, dtype in manifest.columns.items()
    }


def _column(
    store: Store, manifest: Manifest, name: str, dtype: np.dtype[Any], digests: tuple[str, ...]
) -> npt.NDArray[Any]:
    pages = (
        _page(store, manifest.version, name, index, digest) for index, digest in enumerate(digests)
    )
    return np.frombuffer(b"".join(pages), dtype)


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
