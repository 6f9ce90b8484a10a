"""What a save writes of a table: the touched slots or their pages, whichever takes fewer bytes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.storage import checkpoint_store
from deploy.storage.checkpoint_store import FOLD, CheckpointStore
from deploy.storage.rocksdb import Store, StoreError
from ftrl.table.layout import LAYOUTS
from streams.compute.arrays import U64
from tests.support.tiers import tries

PAGE = 64
SLOTS = 32 * PAGE
SLOT_NUMBER = 8  # bytes
PREFIX = b"training/"


def bits(touched: set[int]) -> U64:
    """A bit a slot."""
    flags = np.zeros(SLOTS, np.uint8)
    flags[list(touched)] = 1
    return np.packbits(flags, bitorder="little").view(np.uint64)


def of_a_page(page: int, count: int) -> set[int]:
    """The first slots of a page."""
    return set(range(PAGE * page, PAGE * page + count))


def spread(seed: int) -> set[int]:
    """A third of all slots."""
    return set(np.random.default_rng(seed).integers(0, SLOTS, SLOTS // 3).tolist())


# Of a save: no slot, a few, those of a page, those of all pages.
some = st.one_of(
    st.sets(st.integers(0, SLOTS - 1), max_size=12),
    st.builds(of_a_page, st.integers(0, SLOTS // PAGE - 1), st.integers(1, PAGE)),
    st.integers(0, 99).map(spread),
)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(
    max_examples=tries(12),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(saves=st.lists(some, min_size=1, max_size=FOLD + 9), seed=st.integers(0, 99))
def test_a_save_writes_whichever_is_smaller(
    layout: str, saves: list[set[int]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dtype = LAYOUTS[layout]
    table, rng = np.zeros(SLOTS, dtype), np.random.default_rng(seed)
    with Store(tmp_path_factory.mktemp("pages") / "store", create=True) as store:
        checkpoints = CheckpointStore(store, PAGE)
        checkpoints.save(table, bits(set(range(SLOTS))), {}, {})
        checkpoints.wait()
        before = dict.fromkeys(store.keys(PREFIX))
        for number, touched in enumerate(saves, 2):
            for slot in touched:
                table[slot] = np.frombuffer(rng.bytes(dtype.itemsize), dtype)[0]
            checkpoints.save(table, bits(touched), {}, {"number": number})
            checkpoints.wait()
            now = dict.fromkeys(store.keys(PREFIX))
            new = [key for key in now if key not in before]
            lists = [key for key in new if b"/touched-" in key]
            as_list = len(touched) * (SLOT_NUMBER + dtype.itemsize)
            as_pages = len({slot // PAGE for slot in touched}) * PAGE * dtype.itemsize
            written = {key: len(store.get(key) or b"") for key in new}
            whole = {int(key.split(b"/")[2]) for key in new if key not in lists}
            if as_list < as_pages:
                # Pages that wait are written again, a share at a time; perhaps just these.
                assert len(whole) <= SLOTS // PAGE // FOLD
                if lists or not {slot // PAGE for slot in touched} <= whole:
                    assert sum(written[key] for key in lists) == as_list
            else:
                assert lists == []
                assert whole == {slot // PAGE for slot in touched}
            alive = [key for key in now if b"/touched-" in key]
            assert len(alive) <= FOLD
            before = now
        # Nothing is left of what no commit names, and the whole is the table.
        again = CheckpointStore(store, PAGE)
        saved = again.last(dtype)
        assert saved is not None
        assert saved.slots.tobytes() == table.tobytes()
        assert saved.values == {"number": len(saves) + 1}
        named = checkpoint_store._keys_of(again._pages, again._blobs)
        assert set(before) == named | {PREFIX + b"commit"}


def test_whatever_a_save_fails_of_is_told_and_the_one_before_stays(tmp_path: Path) -> None:
    dtype = LAYOUTS["float32"]
    table = np.zeros(SLOTS, dtype)

    def broken() -> bytes:
        raise MemoryError("no memory to encode it")

    with Store(tmp_path / "store", create=True) as store:
        checkpoints = CheckpointStore(store, PAGE)
        checkpoints.save(table, bits(set()), {"a": lambda: b"whole"}, {"number": 1})
        checkpoints.wait()
        table["key"][3] = 7
        checkpoints.save(table, bits({3}), {"a": broken}, {"number": 2})
        for _ in range(2):
            with pytest.raises(MemoryError, match="no memory to encode it"):
                checkpoints.wait()
        with pytest.raises(MemoryError):  # else it would name pages that were never written
            checkpoints.save(table, bits(set()), {}, {"number": 3})
        saved = CheckpointStore(store).last(dtype)
        assert saved is not None
        assert saved.values == {"number": 1}
        assert saved.arrays == {"a": b"whole"}
        assert not saved.slots["key"].any()


def saved_as(format: int, folder: Path) -> Path:
    """A store whose checkpoint has such a format."""
    with Store(folder, create=True) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_store, "FORMAT", format)
        checkpoints = CheckpointStore(store, PAGE)
        checkpoints.save(np.zeros(SLOTS, LAYOUTS["float32"]), bits(set()), {}, {"format": format})
        checkpoints.wait()
    return folder


def test_formats_are_told_apart(tmp_path: Path) -> None:
    with Store(saved_as(checkpoint_store.FORMAT, tmp_path / "now")) as store:
        CheckpointStore(store).check_format("start anew")
    with Store(saved_as(1, tmp_path / "older")) as store:
        checkpoints = CheckpointStore(store, PAGE)
        assert checkpoints.values == {"format": 1}  # for those who only take the weights
        with pytest.raises(StoreError, match=r"older clickloop.*version that began.*start anew, o"):
            checkpoints.check_format("start anew")
    newer = checkpoint_store.FORMAT + 1
    with (
        Store(saved_as(newer, tmp_path / "newer")) as store,
        pytest.raises(StoreError, match=rf"format {newer}, this clickloop reads up to.*upgrade"),
    ):
        CheckpointStore(store)
