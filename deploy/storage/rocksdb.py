"""The RocksDB that holds a run's serving versions: bytes in, bytes out, one atomic write.

Raw mode everywhere: rocksdict's default mode pickles values, and reading a crafted pickle
runs code. The store records its format, and the newest clickloop that has written to it, and
refuses what it cannot read. A process may be killed at any moment, also while it makes or opens
a store.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Self

from rocksdict import AccessType, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from streams.errors import ClickloopError

FORMAT = 1
MADE_BY = package_version("clickloop")
_MARK_KEY = b"format"
_MODE_FILE = "rocksdict-config.json"
_RAW_MODE = '{"raw_mode":true,"prefix_extractors":{}}'  # as rocksdict writes it, piece by piece
# The files that RocksDB makes before CURRENT, which makes a store of a folder.
_BEGUN = re.compile(r"rocksdict-config\.json|LOCK|LOG.*|IDENTITY|MANIFEST-\d+|\d+\.dbtmp")


class StoreError(ClickloopError):
    """A store that is missing, held by another process, damaged, or not ours to read."""


class StoreHeldError(StoreError):
    """A store that another process has open: it may be free in a moment."""


class Store:
    """One RocksDB folder; use as a context manager.

    Keys and values are bytes. `write` is atomic and on disk when it returns.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        """Open the store at `path`.

        create: make it when it does not exist. read_only: never write, and take no lock, so
        that a scorer can read beside the worker that owns it.
        Raises StoreError when there is none, when another process holds it, when its format is
        not this one, or when a newer clickloop has written to it.
        """
        self.path = path
        self._full = False
        if not (path / "CURRENT").exists():
            self._check_place(create)
        self._refuse_pickles()
        options = Options(raw_mode=True)
        options.create_if_missing(create)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_keep_log_file_num(2)
        # Small buffers, so that memory does not depend on how long a run is; enough of them that
        # a checkpoint is not held up.
        options.set_write_buffer_size(8 << 20)
        options.set_max_write_buffer_number(3)
        options.set_level_zero_slowdown_writes_trigger(48)
        options.set_level_zero_stop_writes_trigger(96)
        access = AccessType.read_only() if read_only else AccessType.read_write()
        with self._explained_errors():
            self._db = Rdict(str(path), options, access_type=access)
        self._sync = WriteOptions()
        self._sync.sync = True
        # A store without a key was made by a process that was killed before it could mark it.
        made_by = None if create and not any(True for _ in self.keys(b"")) else self._check_mark()
        if not read_only and made_by != MADE_BY:
            self.write({_MARK_KEY: json.dumps({"format": FORMAT, "made_by": MADE_BY}).encode()})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder. Every synchronous write is on disk already.

        Raises StoreError when the disk refuses what RocksDB still writes (full, for example).
        """
        with self._explained_errors():
            self._db.close()

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None. Raises StoreError where the block is damaged."""
        with self._explained_errors():
            value = self._db.get(key)
        assert value is None or isinstance(value, bytes)
        return value

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """The keys that start with `prefix`, ascending. Raises StoreError where damaged."""
        iterator = self._db.iter()
        iterator.seek(prefix)
        while iterator.valid():
            key = iterator.key()
            assert isinstance(key, bytes)
            if not key.startswith(prefix):
                return
            yield key
            iterator.next()
        with self._explained_errors():
            iterator.status()  # an iterator ends at a damaged block as at the last key

    def write(
        self, puts: Mapping[bytes, bytes], deletes: tuple[bytes, ...] = (), *, sync: bool = True
    ) -> None:
        """Put and delete in one atomic write: all of it is there, or none.

        sync: on disk, and all writes before it, when this returns; otherwise it may be lost
        with the machine, though not with the process.
        Raises StoreError when the disk refuses (full, read-only).
        """
        batch = WriteBatch(raw_mode=True)
        for key in deletes:
            batch.delete(key)
        for key, value in puts.items():
            batch.put(key, value)
        with self._explained_errors():
            self._db.write(batch, self._sync if sync else WriteOptions())

    def _check_place(self, create: bool) -> None:
        """Raise StoreError unless a store may be made here, where none is."""
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        # A process that began to make the store may have been killed.
        begun = _MODE_FILE in names and all(_BEGUN.fullmatch(name) for name in names)
        if not begun and any(name.startswith("MANIFEST-") for name in names):
            raise self._damaged("CURRENT is missing")
        if not create:
            raise StoreError(f"{self.path}: no store here; name the `store` folder of a replay")
        if names and not begun:
            raise StoreError(
                f"{self.path}: the folder holds other files; name an empty or a new one"
            )

    def _refuse_pickles(self) -> None:
        mode = self.path / _MODE_FILE
        text = mode.read_text("utf-8", "replace") if mode.exists() else ""
        if text == _RAW_MODE:
            return
        if _RAW_MODE.startswith(text):
            # Of a process that was killed while it opened the store.
            mode.unlink(missing_ok=True)
            return
        try:
            raw = json.loads(text)["raw_mode"]
        except (ValueError, KeyError, TypeError):
            raw = None
        if raw is not True:
            raise StoreError(
                f"{mode}: this RocksDB is not in raw mode, so reading it could run code; "
                "clickloop did not write it, use another folder"
            )

    def _check_mark(self) -> str | None:
        """The newest clickloop that has written here, None where the mark does not say.

        Closes the store and raises StoreError if this one cannot read it.
        """
        value = self.get(_MARK_KEY)
        try:
            mark = json.loads(value or b"null")
            format_, made_by = mark["format"], mark.get("made_by")
        except (ValueError, KeyError, TypeError, AttributeError):
            self.close()
            raise StoreError(
                f"{self.path}: a RocksDB without clickloop's format mark, so it is damaged or "
                "clickloop did not make it; use another folder, or restore it from a copy"
            ) from None
        if format_ != FORMAT:
            self.close()
            newer = isinstance(format_, int) and format_ > FORMAT
            advice = "upgrade clickloop" if newer else "make the store again with this version"
            raise StoreError(
                f"{self.path}: store format {format_}, this clickloop reads {FORMAT}; {advice}"
            )
        if made_by is not None and _release(str(made_by)) > _release(MADE_BY):
            self.close()
            raise StoreError(
                f"{self.path}: clickloop {made_by} has written to this store, and this is "
                f"{MADE_BY}, which may not know all of it; upgrade clickloop"
            )
        return None if made_by is None else str(made_by)

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # rocksdict raises nothing narrower
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> StoreError:
        text = " ".join(str(error).split())
        if "/LOCK:" in text:
            return StoreHeldError(
                f"{self.path}: another process holds this store; stop it, or copy the folder"
            )
        # After a write that failed RocksDB refuses all others, and no longer says why.
        self._full |= "No space left" in text
        if self._full:
            return StoreError(f"{self.path}: the disk is full; free space and run again")
        if "Corruption" in text or "checksum" in text or "No such file" in text:
            return self._damaged(text)
        return StoreError(f"{self.path}: RocksDB says: {text}")

    def _damaged(self, how: str) -> StoreError:
        return StoreError(
            f"{self.path}: the store is damaged ({how}); restore it from a copy, "
            "or make it again with `clickloop replay`"
        )


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
