"""The table grows where it lies, a few slots at a time, and nobody can tell."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.storage.checkpoint_store import CheckpointStore
from deploy.storage.rocksdb import Store
from ftrl import learner
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings
from ftrl.table import growing
from ftrl.table.growing import Table
from ftrl.table.layout import LAYOUTS, columns, find, slot_for
from streams.errors import ConfigError
from tests.oracles.ftrl import Row
from tests.support.learning import bloom, learn, of, random_rows, same_state
from tests.support.tiers import tries

kernel = pytest.mark.kernel
quick = settings(max_examples=tries(40))
OFF = AdmissionSettings()

# Crowds at both ends and in the middle, so that runs of used slots are long and go over the end.
crowded = st.builds(
    lambda base, offset: max((base + offset) % 2**64, 1),
    st.sampled_from([0, 2**63, 2**64 - 2**58, 2**64 - 2**40]),
    st.integers(0, 200),
)
keys = st.lists(st.one_of(crowded, st.integers(1, 2**64 - 1)), max_size=150, unique=True)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth of a small table takes many steps, as that of a large one does."""
    monkeypatch.setattr(growing, "LEAST_MOVED", 2)
    monkeypatch.setattr(growing, "MOVED_A_FEATURE", 4)
    monkeypatch.setattr(learner, "STEP", 40)


def put(table: Table, key: int, value: int) -> None:
    slot = slot_for(table.slots, table.homes, np.uint64(key))
    table.slots[slot] = (key, value, value)
    table.touched[slot // 64] |= np.uint64(1 << slot % 64)


@kernel
@given(keys, st.lists(st.integers(0, 12), min_size=150, max_size=150))
@settings(max_examples=tries(60))
def test_every_key_is_found_at_every_step(keys: list[int], moves: list[int]) -> None:
    table = Table("float64", 1000, 0)
    before, touched = table.slots.copy(), np.zeros(0, np.uint64)
    for number, (key, count) in enumerate(zip(keys, moves, strict=False)):
        if number + 1 > table.room:
            table.reserve(number + 1)
        put(table, key, number)
        if table.growing and count:
            table.move(count)
        for other, held in enumerate(keys[: number + 1]):
            slot = find(table.slots, table.homes, np.uint64(held))
            assert slot >= 0
            assert table.slots[slot]["z"] == other
        if number % 7 == 0:
            # What has changed, and nothing else, is said to have been touched.
            touched = table.take_touched()
            bits = np.unpackbits(touched.view(np.uint8), bitorder="little").astype(bool)
            same = table.slots[: len(before)] == before[: len(table.slots)]
            assert bits[: len(same)][~same].all()
            assert not table.slots["key"][len(before) :][~bits[len(same) :]].any()
            before = table.slots.copy()
    order = np.argsort(np.array(keys, np.uint64))
    found = columns(table.slots)
    assert found[0].tolist() == sorted(keys)
    assert found[1].tolist() == found[2].tolist() == order.tolist()


@kernel
@pytest.mark.usefixtures("small_steps")
def test_a_growing_table_is_found_growing() -> None:
    """The two tests around this one see tables in the midst of it."""
    table = Table("float32", 1000, 0)
    rng = np.random.default_rng(1)
    for number, key in enumerate(rng.integers(1, 2**64, table.room, dtype=np.uint64).tolist()):
        put(table, key, number)
    table.reserve(table.room + 1)
    assert (len(table.slots), table.growing, table.room) == (128, True, 48)
    steps = 0
    while table.growing:
        table.keep_growing(0)
        steps += 1
    assert steps > 5
    assert table.room == 85
    assert table.slots["key"][64:].astype(bool).sum() > 10


@kernel
@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("layout", ["float32", "float64"])
@pytest.mark.parametrize("admission", [OFF, bloom(1, rotate_every=70)])
def test_growth_in_steps_is_growth_at_once(
    layout: str, admission: AdmissionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same logits and states, also when the model is saved and restored meanwhile."""
    rows = random_rows(150, fields=12, features=1500, seed=1, lists=30)
    settings = of(layout, l1=0.1)
    stepwise, resumed = Learner(settings, admission), Learner(settings, admission)
    logits = learn(stepwise, rows).logit
    steps = 0
    for row in range(len(rows)):
        assert learn(resumed, rows[row : row + 1], first=row).logit == logits[row]
        steps += resumed._table.growing
        if row % 17 == 0:
            resumed = Learner.restore(settings, admission, resumed.state())
    assert steps > 10
    assert same_state(resumed.state(), stepwise.state())
    monkeypatch.setattr(growing, "LEAST_MOVED", 10**9)
    at_once = Learner(settings, admission)
    assert learn(at_once, rows).logit.tobytes() == logits.tobytes()
    assert same_state(at_once.state(), stepwise.state())


@pytest.mark.parametrize("layout", ["float32", "float64"])
def test_what_is_saved_while_it_grows_is_the_table(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that hold nothing new are not written again when the slots become twice as many."""
    monkeypatch.setattr(growing, "LEAST_MOVED", 256)
    monkeypatch.setattr(growing, "MOVED_A_FEATURE", 4)
    monkeypatch.setattr(learner, "STEP", 2000)
    model = Learner(of(layout), OFF)
    rows = random_rows(6000, fields=20, features=60_000, seed=2)
    written = steps = 0
    with Store(tmp_path / "store", create=True) as store:
        checkpoints = CheckpointStore(store)
        for start in range(0, len(rows), 250):
            learn(model, rows[start : start + 250], first=start)
            touched = model.take_touched()
            checkpoints.save(model.slots, touched, {}, {"rows": start})
            checkpoints.wait()
            steps += model._table.growing
            written += int(np.bitwise_count(touched).sum())
            saved = checkpoints.last(LAYOUTS[layout])
            assert saved is not None
            assert saved.slots.tobytes() == model.slots.tobytes()
    assert len(model.slots) >= 1 << 15
    assert steps > 3
    assert written < 10 * len(model.slots)


def test_a_table_larger_than_the_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"more than this machine has .*lower learner.max_feat"):
        Table("float64", 2**44, 0)


def test_slots_take_memory_only_when_they_are_used() -> None:
    table = Table("float32", 2**28, 0)
    assert table.slots.nbytes == 1024
    assert resident() < 2 * 2**30


def resident() -> int:
    """Bytes of memory this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_restored_table_that_grows_keeps_nothing_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saved table had grown, the restored one is smaller, and is growing when it is saved."""
    monkeypatch.setattr(growing, "LEAST_MOVED", 64)
    model = Learner(of("float32"), OFF)
    rng = np.random.default_rng(3)
    keys = rng.integers(1, 2**64, 5455, dtype=np.uint64).tolist()
    learn(model, [Row(((key, 1.0),)) for key in keys])
    known = Row(tuple((key, 1.0) for key in keys[:20]))
    with Store(tmp_path / "store", create=True) as store:
        for times in (200, 1, 1):
            for _ in range(times):
                learn(model, [known])
            checkpoints = CheckpointStore(store)
            checkpoints.save(model.slots, model.take_touched(), {}, {})
            checkpoints.wait()
            saved = checkpoints.last(LAYOUTS["float32"])
            assert saved is not None
            assert saved.slots.tobytes() == model.slots.tobytes()
            again = CheckpointStore(store).last(LAYOUTS["float32"])
            assert again is not None
            assert again.slots.tobytes() == model.slots.tobytes()
            assert len(saved.slots) == 16384
            model = Learner.restore(of("float32"), OFF, model.state())
            assert len(model.slots) == 8192
