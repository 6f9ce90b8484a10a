"""Serving versions in the store: what is written is what is served, and damage is noticed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.serving.scorer import Scorer
from deploy.storage import publish as publishing
from deploy.storage import versions
from deploy.storage.manifest import Manifest
from deploy.storage.rocksdb import Store, StoreError
from ftrl.cut import Cut
from ftrl.features.config import FeatureConfig, FieldConfig
from ftrl.learner import Learner
from ftrl.serving.table import serving_weights
from ftrl.settings import AdmissionSettings
from ftrl.table.layout import FIXED, LAYOUTS
from tests import ROOT
from tests.support.learning import arrays, learn, of, predict, random_rows

FEATURES = FeatureConfig(fields={"ad": FieldConfig(kind="categorical")})
ROWS = random_rows(200, fields=6, features=400, seed=1)
STEP = 2.0**-13


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", create=True) as opened:
        yield opened


def taught(layout: str) -> Learner:
    learner = Learner(of(layout, l1=0.01), AdmissionSettings())
    learn(learner, ROWS)
    return learner


def publish(store: Store, learner: Learner) -> Manifest:
    return publishing.publish(
        store,
        learner,
        features=FEATURES,
        click_types=("click",),
        cut=Cut(len(ROWS)),
        ts=None,
        page_size=100,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_version_is_its_learner(store: Store, layout: str) -> None:
    learner = taught(layout)
    made = publish(store, learner)
    manifest, table = versions.load(store)
    assert manifest == made
    assert manifest.groups == (256 if layout == FIXED else 0)
    assert manifest.weights > 200
    a = arrays(ROWS)
    coordinates = (a["indptr"], a["keys"], a["values"], a["offset"])
    difference = table.logit(*coordinates) - predict(learner, a)
    assert np.abs(difference).max() <= 6 * STEP
    assert np.abs(difference).max() > 0
    assert Scorer(manifest, table).manifest.bias == learner.bias


@pytest.mark.parametrize("layout", LAYOUTS)
def test_its_bytes_are_as_stated(store: Store, layout: str) -> None:
    """6 for a weight and 2 for a group where features are tags, else 10 for a weight."""
    manifest = publish(store, taught(layout))
    kinds = (b"groups/", b"keys/", b"weights/")
    found = sum(len(store.get(key) or b"") for kind in kinds for key in store.keys(kind))
    assert manifest.bytes == found
    assert found == (manifest.weights * 6 + 256 * 2 if layout == FIXED else manifest.weights * 10)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_page_is_checked(store: Store, layout: str) -> None:
    manifest = publish(store, taught(layout))
    keys = [
        key for key in store.keys(b"") if key.split(b"/")[0] in (b"groups", b"keys", b"weights")
    ]
    assert len(keys) > 2 * (manifest.weights // 100)
    for key in keys:
        whole = store.get(key)
        assert whole is not None
        store.write({key: bytes([whole[0] ^ 1]) + whole[1:]})
        with pytest.raises(StoreError, match="does not fit its digest"):
            versions.load(store)
        store.write({}, deletes=(key,))
        with pytest.raises(StoreError, match="is missing"):
            versions.load(store)
        store.write({key: whole})
    versions.load(store)


@pytest.mark.parametrize("change", ["weights", "groups"])
def test_a_manifest_that_does_not_fit_is_refused(store: Store, change: str) -> None:
    manifest = publish(store, taught(FIXED))
    wrong = Manifest.from_json({**manifest.to_json(), change: 257})
    with pytest.raises(StoreError, match=r"serving version 1 holds .*score with another version"):
        versions.weights_of(store, wrong)


def test_a_manifest_from_before_there_were_groups_is_read(store: Store) -> None:
    manifest = publish(store, taught("float32"))
    values = manifest.to_json()
    del values["groups"], values["group_pages"], values["gone"], values["gone_pages"]
    assert Manifest.from_json(values) == manifest


@pytest.mark.parametrize("wrong", ["x", None, -1, 1.5, True, [], {}, [1], 2**70])
@pytest.mark.parametrize(
    "path",
    ["version", "weights", "groups", "saturated", "gone", "cut", "cut.examples", "cut.place", "ts"],
)
def test_a_manifest_of_wrong_types_is_damaged_though_its_digest_fits(
    store: Store, path: str, wrong: object
) -> None:
    key = b"manifest/%08d" % publish(store, taught("float32")).version
    values = json.loads(store.get(key) or b"")
    del values["digest"]
    *outer, name = path.split(".")
    part = values[outer[0]] if outer else values
    if wrong is None and part[name] is None:
        wrong = "x"
    part[name] = wrong
    text = versions.canonical_json(values)
    store.write({key: versions.canonical_json({**values, "digest": versions.digest(text)})})
    with pytest.raises(StoreError, match=r"the manifest of serving version 1 is damaged"):
        versions.manifest_of(store, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_version_says_whose_weight_is_gone(store: Store, layout: str) -> None:
    """Whoever holds a version, drops those and takes the next one's weights over it, has that."""
    learner = Learner(of(layout, l1=0.01, max_features=150), AdmissionSettings())
    held: dict[int, int] = {}
    gone = 0
    for start in range(0, len(ROWS), 40):
        learn(learner, ROWS[start : start + 40], first=start)
        manifest = publish(store, learner)
        dropped = versions.tombstones(store, manifest)
        assert len(dropped) == manifest.tombstones
        for key in dropped.tolist():
            del held[key]
        gone += len(dropped)
        keys, weights, _ = serving_weights(
            *learner.weights(), seed=learner.settings.seed, variant=manifest.version
        )
        assert versions.keys_of_version(store, manifest).tolist() == keys.tolist()
        new = dict(zip(keys.tolist(), weights.tolist(), strict=True))
        held |= new
        assert held == new
    assert learner.evicted > 0
    assert gone > 20
    key = next(store.keys(b"gone/"))
    store.write({key: bytes(8)})
    damaged = versions.manifest_of(store, int(key.split(b"/")[1]))
    with pytest.raises(StoreError, match="of the gone of serving version"):
        versions.tombstones(store, damaged)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_versions_are_removed_whole(store: Store, layout: str) -> None:
    for _ in range(2):
        publish(store, taught(layout))
    publishing.remove_after(store, 1)
    assert [manifest.version for manifest in versions.manifests(store)] == [1]
    assert not [key for key in store.keys(b"") if b"/00000002" in key]


# In a process of its own, as a service would: what does it load by the time it has scored?
SCORE = """
import sys
import pyarrow as pa
from clickloop import Scorer

scorer = Scorer.open(sys.argv[1])
schema = scorer.manifest.features.event_schema().impressions
row = {"impression_id": "i", "ts": 0, "features.ad": "a", "offset": 0.0, "weight": 1.0}
row |= {"src_offset": 0, "src_row": 0}
assert scorer.score(pa.RecordBatch.from_pylist([row], schema)).num_rows == 1
rooms = ("streams", "joiner", "ftrl", "deploy", "clickloop")
print(*sorted(name for name in sys.modules if name.split(".")[0] in rooms))
"""
MOST_LOADED = 40


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_score_loads_few_modules_and_none_of_the_joiner(store: Store, layout: str) -> None:
    publish(store, taught(layout))
    command = [sys.executable, "-c", SCORE, str(store.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = done.stdout.split()
    print(f"a score loads {len(loaded)} modules: {', '.join(loaded)}")
    assert "ftrl.serving.table" in loaded
    assert len(loaded) <= MOST_LOADED
    assert not [name for name in loaded if name.split(".")[0] == "joiner"]
