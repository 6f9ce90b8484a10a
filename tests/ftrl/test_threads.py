"""Several threads: they come to what one comes to, byte for byte, whatever is learned."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftrl.kernels import stages
from ftrl.kernels import threads as worker_threads
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings
from ftrl.table import growing
from ftrl.table.layout import LAYOUTS
from streams.compute.intrinsics import load_acquire
from tests.oracles.ftrl import Row
from tests.support import learning
from tests.support.learning import arrays, bloom, learn, of, random_rows, same_state
from tests.support.tiers import tries
from tests.support.waiting import eventually

kernel = pytest.mark.kernel  # of some only: in pure Python most would be slow

quick = settings(
    max_examples=tries(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
OFF = AdmissionSettings()
POISSON = AdmissionSettings(kind="poisson", probability=0.4)
TIMED = bloom(1).model_copy(update={"rotate_period": 7, "thresholds": {"some": 2}})
KEYS = 2 * stages.AHEAD + 100  # of the largest part


@pytest.fixture(params=[40, KEYS])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Parts of a few rows, or of several tiles; before which row each ended that was learned."""
    for name, value in (("FEWEST_PARTS", 2), ("PART", request.param)):
        monkeypatch.setattr(worker_threads, name, value)
    ends: list[int] = []
    learn_parts = worker_threads.learn_parts

    def noted(*args: Any) -> int:
        done: int = learn_parts(*args)
        shared = next(given for given in args if isinstance(given, worker_threads.SharedState))
        ends.extend(end for end in shared.ends.tolist() if end <= done)
        return done

    monkeypatch.setattr(worker_threads, "learn_parts", noted)
    yield ends
    assert ends


def together(
    rows: list[Row],
    cuts: list[int],
    admission: AdmissionSettings,
    threads: int = 2,
    **changes: Any,
) -> Learner:
    """Teach one thread and several the same, in the same batches, and compare; the latter."""
    one, some = (Learner(of(threads=count, **changes), admission) for count in (1, threads))
    edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    for start, end in itertools.pairwise(edges):
        expected = learn(one, rows[start:end], first=start).logit
        assert learn(some, rows[start:end], first=start).logit.tobytes() == expected.tobytes()
        assert (some.take_touched() == one.take_touched()).all()
    assert same_state(some.state(), one.state())
    assert some.stats() == one.stats()
    return some


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("threads", [2, 3])
@quick
@given(
    st.lists(learning.any_rows, min_size=4, max_size=8),
    learning.cuts,
    st.sampled_from([OFF, bloom(0), bloom(1), bloom(2), POISSON, TIMED]),
    st.sampled_from([0, 9]),
    st.sampled_from(["gradients", "counts"]),
    st.sampled_from([1 << 20, 40, 15]),
)
def test_they_come_to_what_one_comes_to(
    parts: list[int],
    layout: str,
    threads: int,
    drawn: list[list[Row]],
    cuts: list[int],
    admission: AdmissionSettings,
    expire_after: int,
    rates: str,
    max_features: int,
) -> None:
    parts.append(0)  # what is drawn may be too little for parts
    rows = [row for some in drawn for row in some]
    if not all(row.thresholds for row in rows if row.coordinates):
        rows = [replace(row, thresholds=None) for row in rows]
    together(
        rows,
        cuts,
        admission,
        threads,
        layout=layout,
        l1=0.1,
        expire_after=expire_after,
        rates=rates,
        max_features=max_features,
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("admission", [OFF, bloom(1, rotate_every=90), POISSON])
def test_features_that_come_meanwhile_are_found(
    parts: list[int], monkeypatch: pytest.MonkeyPatch, layout: str, admission: AdmissionSettings
) -> None:
    """The table grows on the way, a few slots at a time; lists hold some features twice."""
    monkeypatch.setattr(growing, "LEAST_MOVED", 16)
    monkeypatch.setattr(growing, "MOVED_A_FEATURE", 1)
    rows = random_rows(1500, fields=8, features=900, seed=3, lists=4)
    some = together(rows, [90, 100, 760], admission, layout=layout, l1=0.1)
    assert some.features > 200
    assert len(parts) > 8
    assert len(set(np.diff(parts))) > 2


@pytest.mark.parametrize("layout", [pytest.param("float32", marks=kernel), "q2.13"])
@pytest.mark.parametrize("when_full", ["refuse", "evict"])
def test_a_full_table(parts: list[int], layout: str, when_full: str) -> None:
    """Full before one row of a part or another: also after its last, when the next is looked up."""
    rows = random_rows(160, fields=8, features=1000, seed=4)
    for most in range(390, 400):
        some = together(rows, [40], OFF, layout=layout, max_features=most, when_full=when_full)
        assert some.stats().refused > 0
        assert (some.evicted > 0) == (when_full == "evict")
    assert len(parts) >= 20


@pytest.mark.parametrize("when_full", ["refuse", "evict"])
def test_a_full_group(parts: list[int], when_full: str) -> None:
    """The table has room for all, two of its groups have not."""
    new = np.random.default_rng(5).permutation(1400).reshape(-1, 4)
    rows = [
        Row(tuple((key % 2 << 56 | key * 3000001 + 1, 1.0) for key in row), row[0] % 2)
        for row in new.tolist()
    ]
    for cut in range(60, 70):
        some = together(rows, [cut], OFF, layout="q2.13", when_full=when_full)
        assert some.stats().refused > 0
        assert (some.evicted > 0) == (when_full == "evict")
    assert len(parts) >= 20


@kernel
def test_features_that_share_stamps_and_places(parts: list[int]) -> None:
    """Keys that agree in the bits by which filters, homes and caches tell them apart."""
    rng = np.random.default_rng(7)
    alike = [1 + (number << 36) for number in range(12)]
    rows = [
        Row(tuple((int(key), 1.0) for key in rng.choice(alike, 6)), int(rng.random() < 0.3))
        for _ in range(900)
    ]
    some = together(rows, [70], bloom(3, rotate_every=1000), 3, layout="float64")
    assert some.features == len(alike)
    assert len(parts) > 5


@kernel
def test_a_row_with_two_keys_that_are_one_to_the_table(parts: list[int]) -> None:
    """They share group and tag; one of them is let in before the other was sighted as often."""
    rng = np.random.default_rng(3)
    some = rng.integers(1, 2**64, 40, np.uint64) & np.uint64(2**64 - 1 - (0xFF << 40))
    keys = np.concatenate([some | np.uint64(number << 40) for number in range(3)])
    rows = [
        Row(tuple((int(key), 1.0) for key in rng.choice(keys, 8)), int(rng.random() < 0.3))
        for _ in range(400)
    ]
    for admit_after in (1, 2):
        learner = together(rows, [100], bloom(admit_after), 3, layout="q2.13")
        assert learner.features == len(some)
    assert len(parts) > 5


def test_a_row_longer_than_a_part_is_learned_by_one(parts: list[int]) -> None:
    long = Row(tuple((key, 1.0) for key in range(1, KEYS + 50)), 1)
    short = random_rows(250, fields=6, features=50, seed=1)
    together([*short, long, *short], [], OFF, layout="float32")
    assert 0 < parts[-1] <= len(short)


@kernel
def test_who_would_wait_looks_up(parts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the others late, the thread of the arithmetic looks up all that there is space for."""
    prepare_parts, seen = worker_threads.prepare_parts, []

    def late(*args: Any) -> None:
        shared = next(given for given in args if isinstance(given, worker_threads.SharedState))
        enough = min(len(shared.ends), worker_threads.AT_ONCE)
        # That one may have to be compiled first.
        eventually(lambda: load_acquire(shared.counters, worker_threads.TAKEN) == enough, 300)
        seen.append(enough)
        prepare_parts(*args)

    monkeypatch.setattr(worker_threads, "prepare_parts", late)
    together(random_rows(400, fields=6, features=300, seed=2), [], bloom(1), layout="float32")
    assert seen
    assert len(parts) > 1


def test_more_slots_than_can_be_told_are_left_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_threads, "FEWEST_PARTS", 2)
    monkeypatch.setattr(worker_threads, "PART", 40)
    monkeypatch.setattr(worker_threads, "learn_parts", _fail)
    rows = random_rows(250, fields=6, features=50, seed=1)
    slots = len(Learner(of(layout="float32"), OFF).slots)
    monkeypatch.setattr(worker_threads, "MOST_SLOTS", slots - 1)
    together(rows, [], OFF, layout="float32")
    monkeypatch.setattr(worker_threads, "MOST_SLOTS", slots)
    with pytest.raises(MemoryError, match="none left"):
        together(rows, [], OFF, layout="float32")


def test_nothing_is_learned_where_the_arrays_are_wrong(parts: list[int]) -> None:
    rows = random_rows(250, fields=6, features=50, seed=1)
    learner = together(rows, [], OFF, layout="float32")
    before = learner.state()
    wrong = arrays(rows)
    wrong["keys"][-1] = 0
    with pytest.raises(ValueError, match="a key is 0"):
        learner.learn(**wrong)
    assert same_state(learner.state(), before)
    assert learn(learner, []).logit.tolist() == []
    assert parts


def test_none_waits_for_a_thread_that_failed(
    parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(250, fields=6, features=50, seed=1)
    for threads in (2, 3):
        learner = together(rows, [], OFF, threads, layout="float32")
        for name in ("prepare_parts", "learn_parts"):
            with monkeypatch.context() as patched:
                patched.setattr(worker_threads, name, _fail)
                with pytest.raises(MemoryError, match="none left"):
                    learn(learner, rows)
    assert parts


def _fail(*_: Any) -> None:
    raise MemoryError("none left")
