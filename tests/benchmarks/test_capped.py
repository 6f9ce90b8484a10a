"""A small table on a stream of many ids: the benchmark's claims, on fewer of them."""

import numpy as np

from benchmarks.capped import CHUNK, Result, Stream, run
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.layout import LAYOUTS

STREAM = Stream(2 * CHUNK, scale=0.02)
CAP = 2_000


def learned(**values: object) -> Result:
    return run(STREAM, LearnerSettings.model_validate(values), AdmissionSettings())


def test_the_stream_is_seeded_and_its_ids_come_and_go() -> None:
    first, again = list(STREAM.chunks()), list(STREAM.chunks())
    for one, two in zip(first, again, strict=True):
        assert one[0].tobytes() == two[0].tobytes()
        assert one[1].tobytes() == two[1].tobytes()
    early, late = (set(np.unique(keys).tolist()) for keys, _ in first)
    assert len(early | late) > 30 * CAP
    # The life of a value is 10,000 examples, so only the rare ones come in both halves.
    assert len(early & late) < 0.4 * len(early | late)


def test_a_capped_table_is_nearly_as_good_and_stays_as_small() -> None:
    whole = learned()
    assert whole.stats.features_admitted > 20 * CAP
    refusing = learned(max_features=CAP, when_full="refuse")
    assert refusing.normalized_entropy > whole.normalized_entropy * 1.02
    for layout in LAYOUTS:
        capped = learned(max_features=CAP, layout=layout, memory=1)
        assert capped.normalized_entropy <= whole.normalized_entropy * 1.01, layout
        assert capped.stats.evicted > 20 * CAP
        assert 0.9 * CAP < capped.stats.features_admitted <= CAP
        assert len(capped.sizes) == 1


def test_stale_features_need_no_cap() -> None:
    expiring = learned(expire_after=10_000)
    assert expiring.stats.evicted > 20 * CAP
    assert expiring.stats.features_admitted < 0.6 * expiring.stats.features_seen
