"""Early clicks: those that came before their impression and wait for it.

One array holds them in the order of arrival. Chains find them by id (doubly linked lists, oldest
first, one for each value of some bits of the hash), a binary heap by time. A click that no longer
waits leaves its chain at once, and the heap when it reaches the top; its row is freed when the
array is made anew.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joiner.core.kernel_types import SIZES, Int, Sizes
from streams.arrow_batches import empty_batch, with_small_tail
from streams.compute.arrays import I32, I64, U64
from streams.compute.jit import kernel
from streams.compute.murmur3 import hash128
from streams.events import NEVER

EARLY_CLICK = np.dtype(
    [
        ("lo", np.uint64),  # the id's hash, low and high half
        ("hi", np.uint64),
        ("ts", np.int64),
        ("next", np.int32),  # neighbours in its chain, or -1
        ("prev", np.int32),
        ("type", np.int64),  # the click's type, or -1 when it no longer waits
    ]
)

# Indexes into Queue.cursor: rows in use, clicks that wait, entries in the heap.
USED, ALIVE, HEAPED = 0, 1, 2


class EarlyQueue(NamedTuple):
    """rows: WAITING [capacity]; chains: I32 [a power of two, first and last]; heap: I32
    [capacity], rows ordered by (ts, arrival); cursor: I64 [3]."""

    rows: npt.NDArray[Any]
    chains: I32
    heap: I32
    cursor: I64


@kernel
def enqueue(queue: EarlyQueue, lo: np.uint64, hi: np.uint64, ts: Int, click_type: Int) -> None:
    """Append a click. There must be a free row."""
    rows, chains, heap, cursor = queue.rows, queue.chains, queue.heap, queue.cursor
    k = cursor[USED]
    chain = np.int64(lo & np.uint64(len(chains) - 1))
    last = chains[chain, 1]
    rows["lo"][k] = lo
    rows["hi"][k] = hi
    rows["ts"][k] = ts
    rows["type"][k] = click_type
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
def unlink(queue: EarlyQueue, k: Int) -> None:
    """Take row `k` out of its chain: it no longer waits."""
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
    rows["type"][k] = -1
    queue.cursor[ALIVE] -= 1


@kernel
def pop_earliest(queue: EarlyQueue) -> None:
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
def enqueue_all(queue: EarlyQueue, lo: U64, hi: U64, ts: I64, click_type: I64) -> None:
    """Append every click of these columns."""
    for k in range(len(lo)):
        enqueue(queue, lo[k], hi[k], ts[k], click_type[k])


def _new_queue(capacity: int) -> EarlyQueue:
    chains = 1 << max(capacity - 1, 1).bit_length()
    return EarlyQueue(
        rows=np.zeros(capacity, EARLY_CLICK),
        chains=np.full((chains, 2), -1, np.int32),
        heap=np.zeros(capacity, np.int32),
        cursor=np.zeros(3, np.int64),
    )


class EarlyClicks:
    """The queue that the kernels use, and the clicks' rows, in the same order."""

    def __init__(self, schema: pa.Schema, sizes: Sizes = SIZES) -> None:
        """schema: of the click batches. sizes: the least ones."""
        self._schema = schema
        self._smallest, self._small_batch = sizes.early, sizes.batch
        self._rows: list[pa.RecordBatch] = []
        self.queue = _new_queue(self._smallest)

    @classmethod
    def restore(cls, rows: pa.RecordBatch, sizes: Sizes = SIZES) -> Self:
        """The queue of these clicks, as `batch` gave them."""
        self = cls(rows.schema, sizes)
        self.reserve(rows.num_rows)
        lo, hi = hash128(rows.column("impression_id"))
        # Copies, as in `_resize`: the kernel is compiled once, for arrays that can be written.
        ts, types = (rows.column(name).to_numpy().astype(np.int64) for name in ("ts", "type"))
        enqueue_all(self.queue, lo, hi, ts, types)
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
        """Make room for so many more clicks. The queue's rows may be numbered anew."""
        used, alive, _ = self.queue.cursor.tolist()
        if used + clicks > len(self.queue.rows) or used > max(4 * alive, self._smallest):
            self._resize(max(self._smallest, 2 * (alive + clicks)))

    def append(self, clicks: pa.RecordBatch) -> None:
        """Keep the rows of the clicks that the kernel has just put into the queue."""
        if clicks.num_rows:
            self._rows.append(with_small_tail(self._rows, clicks, self._small_batch))

    def take(self, rows: I64) -> pa.RecordBatch:
        """The clicks of these rows of the queue."""
        if not self._rows:
            return empty_batch(self._schema)
        table = pa.Table.from_batches(self._rows, self._schema).take(pa.array(rows))
        return pa.RecordBatch.from_arrays(
            [column.combine_chunks() for column in table.columns], schema=self._schema
        )

    def batch(self) -> pa.RecordBatch:
        """The clicks that wait, in the order of arrival."""
        return self.take(self._alive())

    def _alive(self) -> I64:
        used = self.queue.cursor[USED]
        return np.flatnonzero(self.queue.rows["type"][:used] >= 0)

    def _resize(self, capacity: int) -> None:
        alive = self._alive()
        lo, hi, ts, types = (self.queue.rows[name][alive] for name in ("lo", "hi", "ts", "type"))
        waiting = self.take(alive)
        self.queue = _new_queue(capacity)
        enqueue_all(self.queue, lo, hi, ts, types)
        self._rows = [waiting] if waiting.num_rows else []
