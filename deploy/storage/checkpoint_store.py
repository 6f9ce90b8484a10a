"""Arrays in the store, of which a save writes only what has changed.

The learner's table is stored as pages of slots, and as delta logs: the single slots that were
touched since their page was written. Each save writes whichever is smaller. Beside a delta log it
writes again a share of the pages that older delta logs amend, so that none of these is needed for
more than `FOLD` saves.

    slots/<page>/<save>     the page as it was at that save
    blob/<name>/<save>/<k>  any other array, in pieces; an unchanged one is not written again. A
                            delta log is slot numbers (int64), then the slots

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

# The format of a commit covers all that its values and arrays are made of, settings too. The first
# commits did not state it: their runs cannot go on, but their weights can be read.
FORMAT, UNSTATED_FORMAT = 2, 1
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
    """What a save writes of the table, copied out of it.

    pages: int64, page numbers; page_bytes: uint8 [pages, bytes]. touched: int64, slot numbers of
    the delta log; touched_bytes: these slots.
    """

    pages: I64
    page_bytes: U8
    touched: I64
    touched_bytes: Array

    def delta_log(self) -> memoryview:
        """The delta log as it is written."""
        # NumPy releases Python's lock while it copies, so training goes on meanwhile.
        parts = self.touched.view(np.uint8), self.touched_bytes.view(np.uint8)
        return np.concatenate(parts).data


@dataclass(slots=True)
class SlotPages:
    """Which save wrote each page of the table, and which delta logs still count.

    capacity: slots of the table. page_slots: slots of a page. written: int64, the save that wrote
    each page, or _NEVER. first_delta: int64, the oldest save whose delta log holds a slot of the
    page newer than the page itself, or _NEVER. deltas: the saves whose delta logs count.
    """

    capacity: int = 0
    page_slots: int = PAGE_SLOTS
    written: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    first_delta: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    deltas: list[int] = field(default_factory=list)

    def change(self, save: int, slots: Array, touched: U64, page_slots: int) -> TableChange:
        """Choose and copy what save number `save` writes, and count it as written.

        slots: the whole table; since the save before it may have grown at its end. touched:
        uint64, a bit a slot, since the save before. page_slots: of a page, if the table has as
        many.
        """
        if len(slots) != self.capacity:
            touched = self._resize(len(slots), touched, page_slots)
        dirty = np.flatnonzero(touched.reshape(len(self.written), -1).any(axis=1))
        count = int(np.bitwise_count(touched).sum())
        amended: I64 = np.empty(0, np.int64)
        page_bytes = self.page_slots * slots.itemsize
        if count * (_SLOT.itemsize + slots.itemsize) >= len(dirty) * page_bytes:
            pages = dirty
        else:
            if count:
                bits = np.unpackbits(touched.view(np.uint8), bitorder="little")
                amended = np.flatnonzero(bits.view(np.bool_))  # far faster than of integers
                self.deltas.append(save)
                self.first_delta[dirty[self.first_delta[dirty] == _NEVER]] = save
            # The pages that were amended first are written again, so that their delta logs can go.
            waiting = np.flatnonzero(self.first_delta != _NEVER)
            share = -(-len(self.written) // FOLD)
            oldest = np.argsort(self.first_delta[waiting], kind="stable")[:share]
            pages = np.sort(waiting[oldest]) if len(self.deltas) > 1 else waiting[:0]
        self.written[pages] = save
        self.first_delta[pages] = _NEVER
        needed = self.first_delta[self.first_delta != _NEVER]
        first = needed.min(initial=np.iinfo(np.int64).max)
        self.deltas = [number for number in self.deltas if number >= first]
        # As plain bytes, because NumPy copies records field by field; and a slice copies faster
        # than a choice.
        raw = slots.view(np.dtype((np.void, slots.itemsize)))
        by_page = raw.view(np.uint8).reshape(len(self.written), -1)
        every = len(pages) == len(self.written)
        return TableChange(
            pages, by_page.copy() if every else by_page[pages], amended, raw.take(amended)
        )

    def _resize(self, capacity: int, touched: U64, page_slots: int) -> U64:
        """Have pages for `capacity` slots; returns the slots to write, a bit each.

        A table that has grown marks the slots it moved as touched, so its pages stay. They are
        all written again if their size changes, or the table is another, smaller one.
        """
        size = min(page_slots, capacity)
        more = capacity // size - len(self.written)
        if size != self.page_slots or more < 0:
            self.page_slots, more = size, capacity // size
            self.written = self.first_delta = np.empty(0, np.int64)
            self.deltas = []
            touched = np.full_like(touched, ALL_TOUCHED)
        self.capacity = capacity
        self.written = np.append(self.written, np.full(more, _NEVER))
        self.first_delta = np.append(self.first_delta, np.full(more, _NEVER))
        return touched

    def restore(self, store: "CheckpointStore", dtype: np.dtype[Any]) -> Array:
        """The table as it was at the committed save, from its pages and delta logs in `store`.

        Raises StoreError if one is missing or damaged.
        """
        slots = np.zeros(self.capacity, dtype)
        for page in np.flatnonzero(self.written != _NEVER).tolist():
            data = store.get(_page_key(page, self.written[page]))
            slots.reshape(-1, self.page_slots)[page] = np.frombuffer(data, dtype)
        for save in self.deltas:
            data = store.blob(_delta_name(save))
            count = len(data) // (_SLOT.itemsize + dtype.itemsize)
            at = np.frombuffer(data, _SLOT, count)
            values = np.frombuffer(data, dtype, count, offset=count * _SLOT.itemsize)
            newer = self.written[at // self.page_slots] < save
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
            "size": self.page_slots,
            "written": self.written.tolist(),
            "listed": self.first_delta.tolist(),
            "lists": self.deltas,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SlotPages":
        """The pages that `to_json` described."""
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


class CheckpointStore:
    """The saves in a store: at most one thread writes, and the last commit is what counts."""

    def __init__(self, store: Store, page_slots: int | None = None) -> None:
        """Read the last commit. page_slots: of the pages to be written, by default PAGE_SLOTS.

        Raises StoreError when the commit is damaged, or of a newer format.
        """
        self._page_slots = page_slots or PAGE_SLOTS
        self._store = store
        self.format = FORMAT  # of the last commit
        self._save = 0
        self._pages = SlotPages()
        self._restored = False  # the pages are those of the commit that was read
        self._blobs: dict[str, dict[str, Any]] = {}
        self._values: dict[str, Any] | None = None
        self._writer = ThreadPoolExecutor(1, "clickloop-save")
        self._writing: Future[None] | None = None
        self._load()
        # A save that was cut short left keys too; the next commit deletes those it does not name.
        self._present = set(store.keys(_PREFIX)) - {_COMMIT}

    @property
    def busy(self) -> bool:
        """Whether a save is still being written."""
        return self._writing is not None and not self._writing.done()

    def save(
        self, slots: Array, touched: U64, arrays: Mapping[str, Encode], values: Mapping[str, Any]
    ) -> None:
        """Copy what must be written of the table, and write all in the background.

        slots: the learner's table. touched: uint64, a bit a slot, since the save before. arrays:
        everything else, by name. values: plain JSON. The caller no longer changes `arrays` and
        `values`. Raises as `wait` when the save before this one failed.
        """
        self.wait()
        self._save += 1
        if self._restored:
            # A restored table has every feature in another slot.
            self._pages, self._restored = SlotPages(), False
        change = self._pages.change(self._save, slots, touched, self._page_slots)
        self._writing = self._writer.submit(
            self._write, self._save, change, self._pages.to_json(), dict(arrays), dict(values)
        )

    def wait(self) -> None:
        """Return when the last save is committed.

        Raises the error by which that save failed, StoreError as a rule, in this call and all
        later ones: the next save would build on pages that were never written.
        """
        if self._writing is not None:
            self._writing.result()

    def last(self, dtype: np.dtype[Any]) -> Saved | None:
        """The last committed save, or None. dtype: of the table's slots. Raises StoreError."""
        if self._values is None:
            return None
        deltas = {_delta_name(number) for number in self._pages.deltas}
        arrays = {name: self.blob(name) for name in self._blobs.keys() - deltas}
        return Saved(self._values, self._pages.restore(self, dtype), arrays)

    def check_format(self, anew: str) -> None:
        """Raise StoreError if the run of the last commit cannot go on.

        anew: how the operator starts again, for the message.
        """
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

        1. the pages and the delta log, 2. the other arrays that have changed, all under keys that
        no commit names yet; 3. the commit, one synchronous write that names them and deletes what
        it supersedes.
        """
        for page, data in zip(change.pages.tolist(), change.page_bytes, strict=True):
            self._store.write({_page_key(page, save): data.tobytes()}, sync=False)
        if save in pages["lists"]:
            arrays[_delta_name(save)] = change.delta_log
        older = {_delta_name(number) for number in pages["lists"]} - arrays.keys()
        blobs = {name: self._blobs[name] for name in older}
        blobs |= {name: self._put(name, save, encode()) for name, encode in arrays.items()}
        commit = {"format": FORMAT, "save": save, "table": pages, "blobs": blobs, "values": values}
        text = json.dumps(commit).encode()
        named = _keys_of(SlotPages.from_json(pages), blobs)
        self._store.write(
            {_COMMIT: _digest(text).encode() + text}, deletes=tuple(self._present - named)
        )
        self._blobs, self._values, self._present = blobs, values, named
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
        """A committed array, or delta log. Raises StoreError if it is missing or damaged."""
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
            self.format = commit.get("format", UNSTATED_FORMAT)
            if self.format > FORMAT:
                raise StoreError(
                    f"{self._store.path}: the training checkpoint has format {self.format}, this "
                    f"clickloop reads up to {FORMAT}; upgrade clickloop"
                )
            self._save = commit["save"]
            self._pages = SlotPages.from_json(commit["table"])
            self._restored = True
            self._blobs, self._values = commit["blobs"], commit["values"]


def _keys_of(pages: SlotPages, blobs: Mapping[str, Mapping[str, Any]]) -> set[bytes]:
    """Every key that a commit of these pages and blobs names."""
    return pages.keys() | {
        _blob_key(name, entry["save"], k)
        for name, entry in blobs.items()
        for k in range(entry["pieces"])
    }


def _page_key(page: int, save: int) -> bytes:
    return _PREFIX + f"slots/{page:08d}/{save}".encode()


def _delta_name(save: int) -> str:
    return f"touched-{save:012d}"


def _blob_key(name: str, save: int, piece: int) -> bytes:
    return _PREFIX + f"blob/{name}/{save}/{piece:05d}".encode()


def _digest(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=_DIGEST // 2).hexdigest()
