"""Clicks that came before their impression, waiting for it.

They are kept in the order of arrival in one array, found by id through chains (doubly linked,
oldest first, one for each value of some bits of the hash) and by time through a binary heap.
A click that is done waiting leaves its chain at once and the heap when it reaches the top; its
row is freed when the array is rebuilt.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joiner.core.kernel_types import NEVER, Int
from streams.arrow_batches import empty_batch, with_small_tail
from streams.compute.arrays import I32, I64, U64
from streams.compute.jit import kernel
from streams.compute.murmur3 import hash128

WAITING = np.dtype(
    [
        ("lo", np.uint64),  # the id's hash, low and high half
        ("hi", np.uint64),
        ("ts", np.int64),
        ("next", np.int32),  # neighbours in its chain, or -1
        ("prev", np.int32),
        ("kind", np.int64),  # the click's type, or -1 when it no longer waits
    ]
)

# Indexes into Queue.cursor: rows in use, clicks that wait, entries in the heap.
USED, ALIVE, HEAPED = 0, 1, 2

_SMALLEST = 1 << 10


class Queue(NamedTuple):
    """rows: WAITING [capacity]; chains: I32 [a power of two, first and last]; heap: I32
    [capacity], rows ordered by (ts, arrival); cursor: I64 [3]."""

    rows: npt.NDArray[Any]
    chains: I32
    heap: I32
    cursor: I64


@kernel
def wait(queue: Queue, lo: np.uint64, hi: np.uint64, ts: Int, kind: Int) -> None:
    """Append a click. There must be a free row."""
    rows, chains, heap, cursor = queue.rows, queue.chains, queue.heap, queue.cursor
    k = cursor[USED]
    chain = np.int64(lo & np.uint64(len(chains) - 1))
    last = chains[chain, 1]
    rows["lo"][k] = lo
    rows["hi"][k] = hi
    rows["ts"][k] = ts
    rows["kind"][k] = kind
    rows["next"][k] = -1
    rows["prev"][k] = last
    if last < 0:
        chains[chain, 0] = k
    else:
        rows["next"][last] = k
    chains[chain, 1] = k
    hole = cursor[HEAPED]
    while hole > 0:
        parent = (hole - 1) >> 1
        if rows["ts"][heap[parent]] <= ts:  # an equal one arrived earlier
            break
        heap[hole] = heap[parent]
        hole = parent
    heap[hole] = k
    cursor[USED] += 1
    cursor[ALIVE] += 1
    cursor[HEAPED] += 1


@kernel
def unlink(queue: Queue, k: Int) -> None:
    """Row `k` no longer waits."""
    rows, chains = queue.rows, queue.chains
    chain = np.int64(rows["lo"][k] & np.uint64(len(chains) - 1))
    before, after = rows["prev"][k], rows["next"][k]
    if before < 0:
        chains[chain, 0] = after
    else:
        rows["next"][before] = after
    if after < 0:
        chains[chain, 1] = before
    else:
        rows["prev"][after] = before
    rows["kind"][k] = -1
    queue.cursor[ALIVE] -= 1


@kernel
def remove_earliest(queue: Queue) -> None:
    """Take the top off the heap."""
    ts, heap, cursor = queue.rows["ts"], queue.heap, queue.cursor
    size = cursor[HEAPED] - 1
    cursor[HEAPED] = size
    k = heap[size]
    hole = 0
    while 2 * hole + 1 < size:
        child = 2 * hole + 1
        if child + 1 < size:
            a, b = heap[child], heap[child + 1]
            if ts[b] < ts[a] or (ts[b] == ts[a] and b < a):
                child += 1
        c = heap[child]
        if ts[k] < ts[c] or (ts[k] == ts[c] and k < c):
            break
        heap[hole] = c
        hole = child
    heap[hole] = k


@kernel
def wait_all(queue: Queue, lo: U64, hi: U64, ts: I64, kind: I64) -> None:
    """Append every click of these columns."""
    for k in range(len(lo)):
        wait(queue, lo[k], hi[k], ts[k], kind[k])


def _queue(capacity: int) -> Queue:
    chains = 1 << max(capacity - 1, 1).bit_length()
    return Queue(
        rows=np.zeros(capacity, WAITING),
        chains=np.full((chains, 2), -1, np.int32),
        heap=np.zeros(capacity, np.int32),
        cursor=np.zeros(3, np.int64),
    )


class WaitingClicks:
    """The queue the kernels use, and beside it the clicks' rows, in the same order."""

    def __init__(self, schema: pa.Schema) -> None:
        """schema: of the click batches."""
        self._schema = schema
        self._rows: list[pa.RecordBatch] = []
        self.queue = _queue(_SMALLEST)

    @classmethod
    def restore(cls, rows: pa.RecordBatch) -> Self:
        """The queue with these clicks, as `waiting` gave them."""
        self = cls(rows.schema)
        self.reserve(rows.num_rows)
        lo, hi = hash128(rows.column("impression_id"))
        # Copies, as in _rebuild: the kernel is compiled once, for arrays that can be written.
        ts, kind = (rows.column(name).to_numpy().astype(np.int64) for name in ("ts", "type"))
        wait_all(self.queue, lo, hi, ts, kind)
        self.append(rows)
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the queue, counted at capacity, without the clicks' rows."""
        return sum(array.nbytes for array in self.queue)

    @property
    def newest(self) -> int:
        """The greatest time of a click that waits, ms; NEVER if none does."""
        ts: I64 = self.queue.rows["ts"][self._alive()]
        return int(ts.max(initial=NEVER))

    def reserve(self, clicks: int) -> None:
        """Make room for so many more clicks. Rows given before mean other clicks after it."""
        used, alive, _ = self.queue.cursor.tolist()
        if used + clicks > len(self.queue.rows) or used > max(4 * alive, _SMALLEST):
            self._rebuild(max(_SMALLEST, 2 * (alive + clicks)))

    def append(self, clicks: pa.RecordBatch) -> None:
        """Keep the rows of the clicks the kernel has just let wait."""
        if clicks.num_rows:
            self._rows.append(with_small_tail(self._rows, clicks, _SMALLEST))

    def take(self, rows: I64) -> pa.RecordBatch:
        """The clicks of these rows of the queue."""
        if not self._rows:
            return empty_batch(self._schema)
        table = pa.Table.from_batches(self._rows, self._schema).take(pa.array(rows))
        return pa.RecordBatch.from_arrays(
            [column.combine_chunks() for column in table.columns], schema=self._schema
        )

    def waiting(self) -> pa.RecordBatch:
        """The clicks that wait, in the order of arrival."""
        return self.take(self._alive())

    def _alive(self) -> I64:
        used = self.queue.cursor[USED]
        return np.flatnonzero(self.queue.rows["kind"][:used] >= 0)

    def _rebuild(self, capacity: int) -> None:
        alive = self._alive()
        lo, hi, ts, kind = (self.queue.rows[name][alive] for name in ("lo", "hi", "ts", "kind"))
        kept = self.take(alive)
        self.queue = _queue(capacity)
        wait_all(self.queue, lo, hi, ts, kind)
        self._rows = [kept] if kept.num_rows else []
