"""Weighted histograms of the logit: sums over examples from which every metric follows.

A cell holds the sums of one class in one bin (columns below). Sums add, so histograms of
different times merge; an example can also be taken back.
"""

import math
from typing import NamedTuple

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


class Examples(NamedTuple):
    """Examples as they are added, all [rows]. label: 0 or 1. weight: ω. ts: event time, ms."""

    logit: F64
    label: I8
    weight: F64
    ts: I64


class TimelineArrays(NamedTuple):
    """A `Timeline` as kernels take it.

    width: ms in a bucket. numbers: [buckets], ascending, ts // width. slots: [buckets], their rows
    in sums [slots, 2, COLUMNS] and coarse [slots, COARSE_BINS, 2] (weights only).
    """

    width: int
    numbers: I64
    slots: I64
    sums: F64
    coarse: F64


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
def accumulate(rows: Examples, first: int, sign: int, fine: F64, timeline: TimelineArrays) -> int:
    """Add (`sign` 1) or take back (-1) examples from row `first` on; returns where it stopped.

    It stops early at a row whose bucket of time is not in the timeline, or that is to be taken
    back from a cell holding nothing; the rows before it are done. fine: [FINE_BINS, 2, COLUMNS].

    With x the logit: p = 1 / (1 + exp(-x)) and l = log(1 + exp(-x)) for a positive,
    log(1 + exp(x)) for a negative, both written with exp(-|x|), which cannot overflow.
    """
    logit, label, weight, ts = rows
    width, numbers, slots, sums, coarse = timeline
    slot = 0
    start = 0
    end = 0  # of the bucket in `slot`; empty until one is found
    for i in range(first, logit.size):
        t = ts[i]
        if t < start or t >= end:
            wanted = t // width
            found = np.searchsorted(numbers, wanted)
            if found == numbers.size or numbers[found] != wanted:
                return i
            slot = slots[found]
            start = wanted * width
            end = start + width
        x = logit[i]
        y = label[i]
        shifted = min(max(x + RANGE, 0.0), 2 * RANGE)
        b = min(int(shifted * FINE), FINE_BINS - 1)
        if sign < 0 and (fine[b, y, COUNT] < 1 or sums[slot, y, COUNT] < 1):
            return i
        small = math.exp(-abs(x))
        p = (1.0 if x >= 0 else small) / (1.0 + small)
        loss = math.log1p(small)
        if (x < 0) == (y == 1):
            loss += abs(x)
        coarse[slot, min(int(shifted * COARSE), COARSE_BINS - 1), y] += sign * weight[i]
        _add(fine, b, y, sign, weight[i], p, loss)
        _add(sums, slot, y, sign, weight[i], p, loss)
    return int(logit.size)


class Timeline:
    """Histograms by bucket of event time, aligned to the epoch and bounded in number.

    When there would be more than `limit` buckets, their width doubles and neighbours merge,
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

    @property
    def arrays(self) -> TimelineArrays:
        """The timeline as kernels take it; holds until a bucket is opened."""
        return TimelineArrays(self.width, self.index, self.slots, self.sums, self.coarse)

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
        position = int(np.searchsorted(self.index, key))
        self.index = np.insert(self.index, position, key)
        self.slots = np.insert(self.slots, position, slot)

    def _double(self) -> None:
        """Double the width of the buckets."""
        index, sums, coarse = self.ordered()
        self.width *= 2
        self._gather(index // 2, sums, coarse)

    def _gather(self, index: I64, sums: F64, coarse: F64) -> None:
        """Hold buckets by `index`, ascending; buckets with the same index become one."""
        if not index.size:
            return
        starts = np.flatnonzero(np.diff(index, prepend=index[0] - 1))
        self.fill(
            index[starts],
            np.add.reduceat(sums, starts, axis=0),
            np.add.reduceat(coarse, starts, axis=0),
        )
