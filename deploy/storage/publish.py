"""Publishing: the learner's non-zero weights become the next serving version in the store.

How a version is laid out there: `deploy.storage.versions`. A version is written once, in one
atomic write, and never changed.
"""

from collections.abc import Iterator
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.storage.manifest import COLUMNS, TOMBSTONES, Manifest
from deploy.storage.rocksdb import Store
from deploy.storage.versions import (
    canonical_json,
    digest,
    keys_of_version,
    manifest_of,
    newest,
    numbers,
    stored_key,
)
from ftrl import Cut, Learner
from ftrl.features import FeatureConfig
from ftrl.serving import bucketed_keys, serving_weights

PAGE = 65_536  # weights, or buckets


def publish(
    store: Store,
    learner: Learner,
    *,
    features: FeatureConfig,
    click_types: tuple[str, ...],
    cut: Cut,
    ts: int | None,
    page_size: int = PAGE,
) -> Manifest:
    """Write the learner's non-zero weights as the next serving version.

    features: the configuration with learned quantile edges filled in. ts: the event-time mark,
    or None at the end. page_size: entries of a column in one stored page. Raises StoreError.
    """
    parent = newest(store)
    number = 1 if parent is None else parent + 1
    keys, weights, saturated = serving_weights(
        *learner.weights(), seed=learner.settings.seed, variant=number
    )
    columns: dict[str, npt.NDArray[Any]] = {"keys": keys, "weights": weights}
    if learner.buckets:
        counts, tags = bucketed_keys(keys, learner.buckets)
        columns |= {"groups": counts, "keys": tags}
    if parent is not None:
        before = keys_of_version(store, manifest_of(store, parent))
        columns[TOMBSTONES] = np.setdiff1d(before, keys, assume_unique=True)
    puts: dict[bytes, bytes] = {}
    pages = {name: _put(puts, name, number, column, page_size) for name, column in columns.items()}
    manifest = Manifest(
        version=number,
        parent=parent,
        made_by=f"clickloop {package_version('clickloop')}",
        ts=ts,
        cut=cut,
        features=features,
        click_types=click_types,
        groups=learner.buckets,
        weights=len(keys),
        saturated=saturated,
        tombstones=len(columns.get(TOMBSTONES, ())),
        bias=learner.bias,
        pages=tuple(zip(pages["keys"], pages["weights"], strict=True)),
        group_pages=pages.get("groups", ()),
        tombstone_pages=pages.get(TOMBSTONES, ()),
    )
    values = manifest.to_json()
    puts[stored_key("manifest", number)] = canonical_json(
        {**values, "digest": digest(canonical_json(values))}
    )
    store.write(puts)
    return manifest


def remove_after(store: Store, number: int) -> None:
    """Remove the versions above `number`: a resumed run makes them again, to the same bytes."""
    for later in numbers(store):
        if later > number:
            store.write({}, deletes=tuple(_keys(store, later)))


def _keys(store: Store, number: int) -> Iterator[bytes]:
    yield stored_key("manifest", number)
    for part in COLUMNS:
        yield from store.keys(stored_key(part, number) + b"/")


def _put(
    puts: dict[bytes, bytes], name: str, number: int, column: npt.NDArray[Any], page_size: int
) -> tuple[str, ...]:
    """Add the pages of a column to `puts`; returns their digests."""
    digests = []
    for index, start in enumerate(range(0, len(column), page_size)):
        page = column[start : start + page_size].tobytes()
        puts[stored_key(name, number, index)] = page
        digests.append(digest(page))
    return tuple(digests)
