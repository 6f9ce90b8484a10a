"""The store: atomic, raw, and honest about what it cannot open."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.store import Store, StoreError


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
        "from deploy.store import Store\n"
        "with Store(pathlib.Path(sys.argv[1]), create=True):\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    root = str(Path(__file__).parent.parent)
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
