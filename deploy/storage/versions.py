"""Serving versions, read: non-zero weights in q2.13, the bias, and a manifest.

    manifest/00000007         JSON, with a digest of itself and of every page
    keys/00000007/00000       uint64, ascending over the version
    weights/00000007/00000    int16 in q2.13, beside the keys

Of a learner of layout q2.13 a key is a group and a tag (`ftrl.table.layout`), and the manifest says
how many groups there are:

    groups/00000007/00000     uint16, how many keys each group has
    keys/00000007/00000       uint32, the tags, ascending in each group

A version holds all weights. For scorers that hold its parent it also names the keys to drop, the
tombstones:

    gone/00000007/00000       uint64, ascending over the version

`deploy.storage.publish` writes a version; here it is read, and every digest is checked.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from deploy.storage.manifest import Manifest
from deploy.storage.rocksdb import Store, StoreError
from ftrl.serving import BucketedKeys, BucketedServingTable, ServedWeights, ServingTable
from ftrl.table import least_keys
from streams.compute.arrays import U64


def manifests(store: Store) -> Iterator[Manifest]:
    """The manifests of all versions, oldest first. Raises StoreError."""
    for number in numbers(store):
        yield manifest_of(store, number)


def newest(store: Store) -> int | None:
    """The highest version number, or None when there is none."""
    return max(numbers(store), default=None)


def find_manifest(store: Store, number: int | None) -> Manifest:
    """The manifest of version `number`, or of the newest. Raises StoreError."""
    if number is None:
        number = newest(store)
    if number is None:
        raise StoreError(f"{store.path}: no serving version yet; a replay publishes them")
    return manifest_of(store, number)


def manifest_of(store: Store, number: int) -> Manifest:
    """The manifest of version `number`, its digest checked. Raises StoreError."""
    value = store.get(stored_key("manifest", number))
    if value is None:
        have = ", ".join(str(n) for n in numbers(store)) or "none"
        raise StoreError(f"{store.path}: no serving version {number}; there are: {have}")
    try:
        values = json.loads(value)
        found = values.pop("digest", None)
        if found != digest(canonical_json(values)) or values["version"] != number:
            raise ValueError("its digest does not fit")
        return Manifest.from_json(values)
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        raise StoreError(
            f"{store.path}: the manifest of serving version {number} is damaged ({error}); "
            "score with another version (`clickloop snapshots list`)"
        ) from error


def weights_of(store: Store, manifest: Manifest) -> ServedWeights:
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
        return BucketedServingTable(BucketedKeys(counts, keys), weights, manifest.bias)
    except ValueError as error:
        raise StoreError(
            f"{store.path}: serving version {manifest.version} holds {error}; its manifest says "
            f"{manifest.weights} weights in {manifest.groups} groups; score with another version "
            "(`clickloop snapshots list`)"
        ) from error


def keys_of_version(store: Store, manifest: Manifest) -> U64:
    """The keys that have a weight in a version, uint64, ascending.

    Where keys are kept as group and tag, the least key of each. Raises StoreError as `weights_of`
    does.
    """
    columns = _columns(store, manifest)
    if not manifest.groups:
        return columns["keys"]
    bucket = np.repeat(np.arange(manifest.groups), columns["groups"])
    return least_keys(manifest.groups, bucket, columns["keys"])


def tombstones(store: Store, manifest: Manifest) -> U64:
    """The keys, uint64, ascending, that had a weight in the version's parent and have none in it.

    Raises StoreError as `weights_of` does.
    """
    return _column(store, manifest, "gone", np.dtype(np.uint64), manifest.tombstone_pages)


def load(store: Store, number: int | None = None) -> tuple[Manifest, ServedWeights]:
    """Version `number`, or the newest, verified and ready to serve. Raises StoreError."""
    manifest = find_manifest(store, number)
    return manifest, weights_of(store, manifest)


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
        _page(store, manifest.version, name, index, expected)
        for index, expected in enumerate(digests)
    )
    return np.frombuffer(b"".join(pages), dtype)


def _page(store: Store, number: int, column: str, index: int, expected: str) -> bytes:
    value = store.get(stored_key(column, number, index))
    if value is None or digest(value) != expected:
        state = "is missing" if value is None else "does not fit its digest"
        raise StoreError(
            f"{store.path}: page {index} of the {column} of serving version {number} {state}; "
            "score with another version (`clickloop snapshots list`)"
        )
    return value


def numbers(store: Store) -> list[int]:
    """The numbers of all versions, ascending. Raises StoreError."""
    return [int(key.split(b"/")[1]) for key in store.keys(b"manifest/")]


def stored_key(part: str, number: int, page: int | None = None) -> bytes:
    """Where the store holds a manifest, a column, or a page of a column of version `number`."""
    return f"{part}/{number:08d}{'' if page is None else f'/{page:05d}'}".encode()


def canonical_json(values: dict[str, Any]) -> bytes:
    """The one way to write `values`, of which a digest is taken."""
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def digest(value: bytes) -> str:
    """BLAKE2b of 16 bytes, in hexadecimal."""
    return hashlib.blake2b(value, digest_size=16).hexdigest()
