"""Arrays in the store, of which a save writes only what has changed.

The learner's table is kept as pages of slots, and as lists of single slots that were touched since
their page was written. Each save writes whichever is smaller, and with a list also a share of the
pages that older lists refer to, so that no list lives for more than `FOLD` saves.

    slots/<page>/<save>     the page as it was at that save
    blob/<name>/<save>/<k>  any other array, in pieces, unchanged ones not written again; a list
                            is slot numbers (int64) and the slots, since the save before

What a save wrote counts only when the commit of that save names it, so that a save that was
cut short leaves the one before it whole.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from deploy.storage.rocksdb import Store, StoreError
from ftrl.table import ALL_TOUCHED
from streams.compute.arrays import I64, U8, U64

# Of a commit, with all that its values and arrays are made of, settings too. Those before did not
# say: their runs cannot go on, but their weights can be read.
FORMAT, UNTOLD_FORMAT = 2, 1
PAGE_SLOTS = 4096
PIECE = 1 << 20  # bytes; RocksDB holds Python's lock while it takes one
FOLD = 16
_PREFIX = b"training/"
_COMMIT = _PREFIX + b"commit"
_NEVER = -1
_DIGEST = 32  # hexadecimal digits
_SLOT = np.dtype(np.int64)

Array = npt.NDArray[Any]
# Gives an array's bytes, in the thread that writes.
Encode: TypeAlias = Callable[[], bytes | memoryview]


@dataclass(frozen=True, slots=True)
class TableChange:
    """What a save must write of the table, copied out of it.

    pages: int64, their numbers, with their bytes, one row a page. touched: int64, slot numbers,
    with their bytes.
    """

    pages: I64
    page_bytes: U8
    touched: I64
    touched_bytes: Array

    def listed(self) -> memoryview:
        """The list of touched slots as it is written."""
        # By NumPy, which lets training go on meanwhile.
        parts = self.touched.view(np.uint8), self.touched_bytes.view(np.uint8)
        return np.concatenate(parts).data


@dataclass(slots=True)
class TablePages:
    """Which save wrote each page, and which lists of touched slots still count."""

    capacity: int = 0
    size: int = PAGE_SLOTS  # slots of a page, if the table has as many
    written: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    # The first save whose list holds a slot of the page that the page itself does not, or none.
    listed: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    lists: list[int] = field(default_factory=list)

    def change(self, save: int, slots: Array, touched: U64) -> TableChange:
        """Choose and copy what save number `save` writes, and count it as written.

        slots: the whole table; it may have got slots behind those it had. touched: a bit a slot,
        since the save before.
        """
        if len(slots) != self.capacity:
            touched = self._resize(len(slots), touched)
        dirty = np.flatnonzero(touched.reshape(len(self.written), -1).any(axis=1))
        count = int(np.bitwise_count(touched).sum())
        listed: I64 = np.empty(0, np.int64)
        if count * (_SLOT.itemsize + slots.itemsize) >= len(dirty) * self.size * slots.itemsize:
            pages = dirty
        else:
            if count:
                bits = np.unpackbits(touched.view(np.uint8), bitorder="little")
                listed = np.flatnonzero(bits.view(np.bool_))  # faster than of integers, by far
                self.lists.append(save)
                self.listed[dirty[self.listed[dirty] == _NEVER]] = save
            # The pages that have waited longest, so that their lists can go.
            waiting = np.flatnonzero(self.listed != _NEVER)
            share = -(-len(self.written) // FOLD)
            oldest = np.argsort(self.listed[waiting], kind="stable")[:share]
            pages = np.sort(waiting[oldest]) if len(self.lists) > 1 else waiting[:0]
        self.written[pages] = save
        self.listed[pages] = _NEVER
        first = self.listed[self.listed != _NEVER].min(initial=np.iinfo(np.int64).max)
        self.lists = [number for number in self.lists if number >= first]
        # As plain bytes, because NumPy copies records field by field; and a slice copies faster
        # than a choice.
        raw = slots.view(np.dtype((np.void, slots.itemsize)))
        by_page = raw.view(np.uint8).reshape(len(self.written), -1)
        every = len(pages) == len(self.written)
        return TableChange(
            pages, by_page.copy() if every else by_page[pages], listed, raw.take(listed)
        )

    def _resize(self, capacity: int, touched: U64) -> U64:
        """Have pages for `capacity` slots; what is to be taken as touched then.

        Pages stay, for a table grows where it lies and says what it has moved, unless they change
        their size or the table is another, smaller one.
        """
        size = min(PAGE_SLOTS, capacity)
        more = capacity // size - len(self.written)
        if size != self.size or more < 0:
            self.size, more = size, capacity // size
            self.written = self.listed = np.empty(0, np.int64)
            self.lists = []
            touched = np.full_like(touched, ALL_TOUCHED)
        self.capacity = capacity
        self.written = np.append(self.written, np.full(more, _NEVER))
        self.listed = np.append(self.listed, np.full(more, _NEVER))
        return touched

    def whole(self, kept: "Kept", dtype: np.dtype[Any]) -> Array:
        """The table as it was at the committed save, from the pages and lists in `kept`."""
        slots = np.zeros(self.capacity, dtype)
        for page in np.flatnonzero(self.written != _NEVER).tolist():
            data = kept.get(_page_key(page, self.written[page]))
            slots.reshape(-1, self.size)[page] = np.frombuffer(data, dtype)
        for save in self.lists:
            data = kept.blob(_list_name(save))
            count = len(data) // (_SLOT.itemsize + dtype.itemsize)
            at = np.frombuffer(data, _SLOT, count)
            values = np.frombuffer(data, dtype, count, offset=count * _SLOT.itemsize)
            newer = self.written[at // self.size] < save
            slots[at[newer]] = values[newer]
        return slots

    def keys(self) -> set[bytes]:
        """The keys of all pages that count."""
        pages = np.flatnonzero(self.written != _NEVER).tolist()
        return {_page_key(page, self.written[page]) for page in pages}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "capacity": self.capacity,
            "size": self.size,
            "written": self.written.tolist(),
            "listed": self.listed.tolist(),
            "lists": self.lists,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TablePages":
        """What `to_json` gave."""
        return cls(
            values["capacity"],
            values["size"],
            np.array(values["written"], np.int64),
            np.array(values["listed"], np.int64),
            list(values["lists"]),
        )


@dataclass(frozen=True, slots=True)
class Saved:
    """A committed save: its values, the table, and the other arrays as bytes, by name."""

    values: dict[str, Any]
    slots: Array
    arrays: dict[str, bytes]


class Kept:
    """The saves in a store: at most one thread writes, and the last commit is what counts."""

    def __init__(self, store: Store) -> None:
        """Read the last commit. Raises StoreError when it is damaged, or of a newer format."""
        self._store = store
        self.format = FORMAT  # of the last commit
        self._save = 0
        self._pages = TablePages()
        self._of_another = False  # these pages are of a table that is not in memory
        self._blobs: dict[str, dict[str, Any]] = {}
        self._values: dict[str, Any] | None = None
        self._writer = ThreadPoolExecutor(1, "clickloop-save")
        self._writing: Future[None] | None = None
        self._load()
        # With what a save that was cut short left; the next commit deletes what it does not name.
        self._there = set(store.keys(_PREFIX)) - {_COMMIT}

    @property
    def busy(self) -> bool:
        """Whether a save is still being written."""
        return self._writing is not None and not self._writing.done()

    def save(
        self,
        slots: Array,
        touched: U64,
        arrays: Mapping[str, Encode],
        values: Mapping[str, Any],
    ) -> None:
        """Copy what must be written of the table, and write all in the background.

        slots: the learner's table; touched: a bit a slot, since the save before. arrays:
        everything else, by name. values: plain JSON. The caller changes neither any more.
        Raises as `wait` when the save before this one failed.
        """
        self.wait()
        self._save += 1
        if self._of_another:
            # In one that was restored from it every key lies elsewhere.
            self._pages, self._of_another = TablePages(), False
        change = self._pages.change(self._save, slots, touched)
        self._writing = self._writer.submit(
            self._write, self._save, change, self._pages.to_json(), dict(arrays), dict(values)
        )

    def wait(self) -> None:
        """Return when the last save is committed.

        Raises what it failed of, StoreError as a rule, now and ever after: what was to be written
        is not there, and nothing more may be saved.
        """
        if self._writing is not None:
            self._writing.result()

    def last(self, dtype: np.dtype[Any]) -> Saved | None:
        """The last committed save, or None. dtype: of the table's slots. Raises StoreError."""
        if self._values is None:
            return None
        lists = {_list_name(number) for number in self._pages.lists}
        arrays = {name: self.blob(name) for name in self._blobs.keys() - lists}
        return Saved(self._values, self._pages.whole(self, dtype), arrays)

    def check_format(self, anew: str) -> None:
        """Raise StoreError if the run of the last commit cannot go on. anew: how to start again."""
        if self.format < FORMAT:
            raise StoreError(
                f"{self._store.path}: the training checkpoint has format {self.format}, of an "
                f"older clickloop, and this one goes on from format {FORMAT}; end the run with the "
                f"version that began it, or {anew}, or go on from its weights: `clickloop worker "
                "learn --from`"
            )

    @property
    def values(self) -> dict[str, Any] | None:
        """The values of the last committed save, or None."""
        return self._values

    def get(self, key: bytes) -> bytes:
        """The value of a key that a commit names. Raises StoreError if it is missing."""
        value = self._store.get(key)
        if value is None:
            raise StoreError(
                f"{self._store.path}: the training checkpoint lacks {key.decode()}: the store is "
                "damaged; restore it from a copy, or replay into a new folder"
            )
        return value

    def _write(
        self,
        save: int,
        change: TableChange,
        pages: dict[str, Any],
        arrays: dict[str, Encode],
        values: dict[str, Any],
    ) -> None:
        """The steps of a save:

        1. the pages and the list, 2. the other arrays that have changed, all under keys that no
        commit names yet; 3. the commit, one synchronous write that names them and deletes what
        it supersedes.
        """
        for page, data in zip(change.pages.tolist(), change.page_bytes, strict=True):
            self._store.write({_page_key(page, save): data.tobytes()}, sync=False)
        if save in pages["lists"]:
            arrays[_list_name(save)] = change.listed
        older = {_list_name(number) for number in pages["lists"]} - arrays.keys()
        blobs = {name: self._blobs[name] for name in older}
        blobs |= {name: self._put(name, save, encode()) for name, encode in arrays.items()}
        commit = {"format": FORMAT, "save": save, "table": pages, "blobs": blobs, "values": values}
        text = json.dumps(commit).encode()
        kept = _names(TablePages.from_json(pages), blobs)
        self._store.write(
            {_COMMIT: _digest(text).encode() + text}, deletes=tuple(self._there - kept)
        )
        self._blobs, self._values, self._there = blobs, values, kept
        self.format = FORMAT

    def _put(self, name: str, save: int, data: bytes | memoryview) -> dict[str, Any]:
        digest = _digest(data)
        old = self._blobs.get(name)
        if old is not None and old["digest"] == digest:
            return old
        pieces = range(0, len(data), PIECE)
        for k, start in enumerate(pieces):
            piece = bytes(data[start : start + PIECE])
            self._store.write({_blob_key(name, save, k): piece}, sync=False)
        return {"save": save, "pieces": len(pieces), "digest": digest}

    def blob(self, name: str) -> bytes:
        """A committed array or list. Raises StoreError if it is missing or damaged."""
        entry = self._blobs[name]
        pieces = (self.get(_blob_key(name, entry["save"], k)) for k in range(entry["pieces"]))
        data = b"".join(pieces)
        if _digest(data) != entry["digest"]:
            raise StoreError(
                f"{self._store.path}: {name} of the training checkpoint does not fit its digest; "
                "restore the store from a copy, or replay into a new folder"
            )
        return data

    def _load(self) -> None:
        value = self._store.get(_COMMIT)
        if value is not None:
            digest, text = value[:_DIGEST].decode("ascii", "replace"), value[_DIGEST:]
            if _digest(text) != digest:
                raise StoreError(
                    f"{self._store.path}: the training checkpoint does not fit its digest; "
                    "restore the store from a copy, or replay into a new folder"
                )
            commit = json.loads(text)
            self.format = commit.get("format", UNTOLD_FORMAT)
            if self.format > FORMAT:
                raise StoreError(
                    f"{self._store.path}: the training checkpoint has format {self.format}, this "
                    f"clickloop reads up to {FORMAT}; upgrade clickloop"
                )
            self._save = commit["save"]
            self._pages = TablePages.from_json(commit["table"])
            self._of_another = True
            self._blobs, self._values = commit["blobs"], commit["values"]


def _names(pages: TablePages, blobs: Mapping[str, Mapping[str, Any]]) -> set[bytes]:
    """Every key that a commit of these names."""
    return pages.keys() | {
        _blob_key(name, entry["save"], k)
        for name, entry in blobs.items()
        for k in range(entry["pieces"])
    }


def _page_key(page: int, save: int) -> bytes:
    return _PREFIX + f"slots/{page:08d}/{save}".encode()


def _list_name(save: int) -> str:
    return f"touched-{save:012d}"


def _blob_key(name: str, save: int, piece: int) -> bytes:
    return _PREFIX + f"blob/{name}/{save}/{piece:05d}".encode()


def _digest(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST // 2).hexdigest()
