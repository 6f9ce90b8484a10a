"""The store: atomic, raw, and honest about what it cannot open."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from deploy.storage import rocksdb as store_module
from deploy.storage.rocksdb import MADE_BY, Store, StoreError
from tests import ROOT


def test_keeps_bytes_across_openings(tmp_path: Path) -> None:
    with Store(tmp_path / "store", create=True) as store:
        store.write({b"a/1": b"one", b"a/2": b"two", b"b": b"\x00\xff"})
        store.write({b"a/3": b"three"}, deletes=(b"a/1",))
    with Store(tmp_path / "store", read_only=True) as store:
        assert store.get(b"a/1") is None
        assert store.get(b"b") == b"\x00\xff"
        assert list(store.keys(b"a/")) == [b"a/2", b"a/3"]


def test_reader_beside_the_writer(tmp_path: Path) -> None:
    with Store(tmp_path / "store", create=True) as writer:
        writer.write({b"k": b"v"})
        with Store(tmp_path / "store", read_only=True) as reader:
            assert reader.get(b"k") == b"v"


def test_missing_store_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store here; name the `store` folder"):
        Store(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds other files"):
        Store(tmp_path, create=True)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_store_of_another_process_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from deploy.storage.rocksdb import Store\n"
        "with Store(pathlib.Path(sys.argv[1]), create=True):\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    root = str(ROOT)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=root,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreError, match="another process holds this store; stop it"):
            Store(tmp_path / "store")
        holder.kill()


@pytest.mark.parametrize(
    ("mark", "advice"),
    [
        (b'{"format": 99}', "store format 99, this clickloop reads 1; upgrade clickloop"),
        (b'{"format": 0}', "store format 0, this clickloop reads 1; make the store again"),
        (b"[]", "without clickloop's format mark"),
        (b"\xff", "without clickloop's format mark"),
    ],
)
def test_other_formats_are_refused(tmp_path: Path, mark: bytes, advice: str) -> None:
    with Store(tmp_path / "store", create=True) as store:
        store.write({b"format": mark})
    with pytest.raises(StoreError, match=advice):
        Store(tmp_path / "store")


def test_pickling_store_is_refused_unread(tmp_path: Path) -> None:
    with Store(tmp_path / "store", create=True):
        pass
    mode = tmp_path / "store" / "rocksdict-config.json"
    mode.write_text(json.dumps({"raw_mode": False, "prefix_extractors": {}}))
    with pytest.raises(StoreError, match="not in raw mode, so reading it could run code"):
        Store(tmp_path / "store")


def test_damaged_store_says_so(tmp_path: Path) -> None:
    with Store(tmp_path / "store", create=True) as store:
        store.write({b"k": bytes(range(256)) * 400})
    with Store(tmp_path / "store"):
        pass  # reopening moves the write-ahead log into a table file
    (table,) = (tmp_path / "store").glob("*.sst")
    content = bytearray(table.read_bytes())
    content[20] ^= 0xFF
    table.write_bytes(content)
    with (
        pytest.raises(StoreError, match=r"the store is damaged .* restore it from a copy"),
        Store(tmp_path / "store", read_only=True) as damaged,
    ):
        damaged.get(b"k")


WHOLE = '{"raw_mode":true,"prefix_extractors":{}}'
# What 400 processes, killed within 30 ms of beginning a store, had left in its folder.
BEGUN = ("LOCK", "LOG", "LOG.old.1", "IDENTITY", "MANIFEST-000001", "000001.dbtmp")


@pytest.mark.parametrize("files", range(len(BEGUN) + 1))
@pytest.mark.parametrize("mode", [WHOLE, WHOLE[:9], ""])
def test_a_store_whose_maker_was_killed_is_made(tmp_path: Path, files: int, mode: str) -> None:
    (tmp_path / "rocksdict-config.json").write_text(mode)
    for name in BEGUN[:files]:
        (tmp_path / name).write_bytes(b"")
    with Store(tmp_path, create=True) as store:
        store.write({b"k": b"v"})
    with Store(tmp_path, read_only=True) as store:
        assert store.get(b"k") == b"v"


def test_a_store_that_was_not_marked_is_marked(tmp_path: Path) -> None:
    Rdict(str(tmp_path), Options(raw_mode=True)).close()
    with pytest.raises(StoreError, match="without clickloop's format mark"):
        Store(tmp_path)
    with Store(tmp_path, create=True):
        pass
    with Store(tmp_path) as store:
        assert list(store.keys(b"")) == [b"format"]


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_store_whose_reader_was_killed_while_it_opened_it(tmp_path: Path, length: int) -> None:
    """RocksDB's Python client writes its mode anew, piece by piece, whenever a store is opened."""
    with Store(tmp_path, create=True) as store:
        store.write({b"k": b"v"})
    mode = tmp_path / "rocksdict-config.json"
    assert mode.read_text() == WHOLE
    mode.write_text(WHOLE[:length])
    with Store(tmp_path, read_only=True) as store:
        assert store.get(b"k") == b"v"
    assert mode.read_text() == WHOLE


def test_a_store_that_lost_its_beginning_is_not_made_anew(tmp_path: Path) -> None:
    with Store(tmp_path, create=True) as store:
        store.write({b"k": b"v"})
    (tmp_path / "CURRENT").unlink()
    with pytest.raises(StoreError, match="CURRENT is missing"):
        Store(tmp_path, create=True)


def test_a_newer_clickloop_may_have_written_what_this_one_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path, create=True):
        pass
    for newer in ("9.10.0", "9.9.1rc1"):
        monkeypatch.setattr(store_module, "MADE_BY", newer)
        with Store(tmp_path, read_only=True):
            pass  # a reader leaves no mark
    monkeypatch.setattr(store_module, "MADE_BY", MADE_BY)
    for read_only in (False, True):
        with Store(tmp_path, read_only=read_only):
            pass
    monkeypatch.setattr(store_module, "MADE_BY", "9.10.0")
    with Store(tmp_path):
        pass
    for older in ("9.9.1", MADE_BY):
        monkeypatch.setattr(store_module, "MADE_BY", older)
        for read_only in (False, True):
            with pytest.raises(StoreError, match=rf"clickloop 9\.10\.0 .*is {older}.*upgrade"):
                Store(tmp_path, read_only=read_only)


def test_keys_do_not_end_at_a_damaged_block(tmp_path: Path) -> None:
    with Store(tmp_path, create=True) as store:
        for number in range(100):
            store.write({b"%03d" % number: hashlib.sha256(b"%d" % number).digest() * 30})
    with Store(tmp_path):
        pass  # reopening moves the write-ahead log into a table file
    table = max(tmp_path.glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(content)
    with Store(tmp_path, read_only=True) as damaged:
        found = damaged.keys(b"")
        assert next(found) == b"000"
        with pytest.raises(StoreError, match="the store is damaged"):
            list(found)
