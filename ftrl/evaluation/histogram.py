"""Weighted histograms of the logit: sums over examples from which every metric follows.

A cell holds the sums of one class in one bin (columns below). Sums add, so histograms of
different times and workers merge; they can also be taken back, example by example.
"""

import math

import numpy as np

from streams.compute.arrays import F64, I8, I64
from streams.compute.jit import kernel

# Sums over the examples of a cell; w weight, p prediction, l log loss (nats).
COUNT = 0  # 1 for each: exact, so that an emptied cell is known to be empty
WEIGHT = 1  # w
SQUARE = 2  # w²
PREDICTED = 3  # w p
LOSS = 4  # w l
SQUARE_LOSS = 5  # w² l
SQUARE_LOSS_LOSS = 6  # w² l²
COLUMNS = 7

RANGE = 16.0  # bins cover logits in [-RANGE, RANGE); what lies beyond is in the outer ones
FINE = 1024  # bins a unit of logit, for a whole run
COARSE = 32  # bins a unit of logit, for one bucket of time
FINE_BINS = int(2 * RANGE) * FINE
COARSE_BINS = int(2 * RANGE) * COARSE


@kernel
def _add(table: F64, row: int, y: int, sign: int, weight: float, p: float, loss: float) -> None:
    """Add one example to the cell [row, y] of `table`, or take it back."""
    w = sign * weight
    w2 = w * weight
    table[row, y, COUNT] += sign
    table[row, y, WEIGHT] += w
    table[row, y, SQUARE] += w2
    table[row, y, PREDICTED] += w * p
    table[row, y, LOSS] += w * loss
    table[row, y, SQUARE_LOSS] += w2 * loss
    table[row, y, SQUARE_LOSS_LOSS] += w2 * loss * loss
    if table[row, y, COUNT] == 0:
        for column in range(COLUMNS):  # what rounding may have left
            table[row, y, column] = 0.0


@kernel
def accumulate(
    logit: F64,
    label: I8,
    weight: F64,
    ts: I64,
    first: int,
    sign: int,
    width: int,
    fine: F64,
    index: I64,
    slots: I64,
    sums: F64,
    coarse: F64,
) -> int:
    """Add (`sign` 1) or take back (-1) examples from row `first` on; the row it stopped at.

    It stops early at a row whose bucket of time is not in `index`, or that is to be taken
    back from a cell holding nothing; the rows before it are done.

    logit, label (0 or 1), weight, ts (ms): [rows]. width: ms in a bucket.
    fine: [FINE_BINS, 2, COLUMNS]. index: [buckets], ascending, ts // width; slots: [buckets],
    their rows in sums [slots, 2, COLUMNS] and coarse [slots, COARSE_BINS, 2] (weights only).

    With x the logit: p = 1 / (1 + exp(-x)) and l = log(1 + exp(-x)) for a positive,
    log(1 + exp(x)) for a negative, both written with exp(-|x|), which cannot overflow.
    """
    slot = 0
    start = 0
    end = 0  # of the bucket in `slot`; empty until one is found
    for i in range(first, logit.size):
        t = ts[i]
        if t < start or t >= end:
            wanted = t // width
            found = np.searchsorted(index, wanted)
            if found == index.size or index[found] != wanted:
                return i
            slot = slots[found]
            start = wanted * width
            end = start + width
        x = logit[i]
        y = label[i]
        at = min(max(x + RANGE, 0.0), 2 * RANGE)
        b = min(int(at * FINE), FINE_BINS - 1)
        if sign < 0 and (fine[b, y, COUNT] < 1 or sums[slot, y, COUNT] < 1):
            return i
        small = math.exp(-abs(x))
        p = (1.0 if x >= 0 else small) / (1.0 + small)
        loss = math.log1p(small)
        if (x < 0) == (y == 1):
            loss += abs(x)
        coarse[slot, min(int(at * COARSE), COARSE_BINS - 1), y] += sign * weight[i]
        _add(fine, b, y, sign, weight[i], p, loss)
        _add(sums, slot, y, sign, weight[i], p, loss)
    return int(logit.size)


class Timeline:
    """Histograms by bucket of event time, aligned to the epoch and bounded in number.

    When there would be more than `limit` buckets their width doubles and neighbours merge,
    as often as needed. The width depends on the examples alone, not on their order.

    index: I64 [n], ascending: bucket k covers [k width, (k + 1) width) ms.
    slots: I64 [n]: the row of each in `sums` and `coarse`, which have spare rows of zeros.
    sums: F64 [rows, 2, COLUMNS]. coarse: F64 [rows, COARSE_BINS, 2], weights.
    """

    def __init__(self, width: int, limit: int) -> None:
        """`width` of a bucket, ms, at first; `limit` on their number, 2 or more."""
        self.width = width
        self.limit = limit
        self.fill(np.empty(0, np.int64), np.empty((0, 2, COLUMNS)), np.empty((0, COARSE_BINS, 2)))

    def fill(self, index: I64, sums: F64, coarse: F64) -> None:
        """Hold the buckets `index`, ascending, with rows in the same order."""
        self.index = index
        self.slots: I64 = np.arange(index.size)
        self.sums = sums
        self.coarse = coarse

    def ordered(self) -> tuple[I64, F64, F64]:
        """index, sums and coarse, oldest first, without spare rows; copies."""
        return self.index.copy(), self.sums[self.slots], self.coarse[self.slots]

    def open(self, ts: int) -> None:
        """Make the bucket that holds event time `ts` (ms)."""
        while ts // self.width not in self.index and self.index.size >= self.limit:
            self._double()
        key = ts // self.width
        if key in self.index:
            return
        slot = self.index.size
        if slot == len(self.sums):
            spare = max(slot, 4)
            self.sums = np.concatenate([self.sums, np.zeros((spare, 2, COLUMNS))])
            self.coarse = np.concatenate([self.coarse, np.zeros((spare, COARSE_BINS, 2))])
        at = int(np.searchsorted(self.index, key))
        self.index = np.insert(self.index, at, key)
        self.slots = np.insert(self.slots, at, slot)

    def merge(self, other: "Timeline") -> None:
        """Add the buckets of another worker, whose first width was the same."""
        theirs = Timeline(other.width, other.limit)
        theirs.fill(*other.ordered())
        while theirs.width < self.width:
            theirs._double()
        while self.width < theirs.width:
            self._double()
        both = [np.concatenate(pair) for pair in zip(self.ordered(), theirs.ordered(), strict=True)]
        order = np.argsort(both[0], kind="stable")
        index, sums, coarse = (array[order] for array in both)
        self._gather(index, sums, coarse)
        while self.index.size > self.limit:
            self._double()

    def _double(self) -> None:
        index, sums, coarse = self.ordered()
        self.width *= 2
        self._gather(index // 2, sums, coarse)

    def _gather(self, index: I64, sums: F64, coarse: F64) -> None:
        """Hold buckets by `index`, ascending; those with the same one become one."""
        if not index.size:
            return
        starts = np.flatnonzero(np.diff(index, prepend=index[0] - 1))
        self.fill(
            index[starts],
            np.add.reduceat(sums, starts, axis=0),
            np.add.reduceat(coarse, starts, axis=0),
        )
