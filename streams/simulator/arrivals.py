"""Simulated rows put in order of arrival and cut into even batches, however they were made."""

from collections.abc import Iterator

import numpy as np

from streams.simulator.traffic import Rows

BATCH_ROWS = 65_536


class RowBatcher:
    """Cuts a sequence of rows into batches of `BATCH_ROWS` rows."""

    def __init__(self) -> None:
        self._parts: list[Rows] = []
        self._rows = 0

    def push(self, rows: Rows) -> Iterator[Rows]:
        """Take rows in; give the batches that are full."""
        self._parts.append(rows)
        self._rows += len(rows)
        if self._rows >= BATCH_ROWS:
            rows = np.concatenate(self._parts)
            full = len(rows) // BATCH_ROWS * BATCH_ROWS
            self._parts, self._rows = [rows[full:]], len(rows) - full
            for begin in range(0, full, BATCH_ROWS):
                yield rows[begin : begin + BATCH_ROWS]

    def finish(self) -> Iterator[Rows]:
        """Give the rest, if there is any."""
        if self._rows:
            yield np.concatenate(self._parts)


class Arrivals:
    """Holds rows back while earlier ones may still come."""

    def __init__(self) -> None:
        self._waiting: list[Rows] = []

    def push(self, rows: Rows, frontier: int) -> Rows:
        """Take rows in; give, in order, all that arrive before `frontier` (ms)."""
        rows = np.concatenate([*self._waiting, rows])
        rows = rows[np.lexsort((rows["sequence"], rows["arrival"]))]
        cut = int(np.searchsorted(rows["arrival"], frontier))
        self._waiting = [rows[cut:]]
        return rows[:cut]

    def finish(self) -> Iterator[Rows]:
        """Give the rest, in order."""
        yield from self._waiting
