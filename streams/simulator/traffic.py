"""Simulated traffic: the events, and the rows that reach the two logs, faults included.

A row is a record of one of the NumPy types below, still in codes; a codec writes it out.
Whatever is drawn for impression i depends on the settings and i alone, so the rows are the same
however they are cut into chunks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.compute.arrays import I64, U64
from streams.simulator.delays import Delays
from streams.simulator.settings import SimulatorSettings
from streams.simulator.truth import Truth
from streams.simulator.world import Shown, World

Rows = npt.NDArray[Any]  # structured: one of the dtypes below

ORIGINAL, DUPLICATE, ORPHAN, MALFORMED = 0, 1, 2, 3  # roles of a row

_ROW = [
    ("arrival", np.int64),  # when it reaches its log: the order of the log
    ("sequence", np.int64),  # breaks ties of arrival; distinct
    ("id", np.uint64),
    ("ts", np.int64),  # as stamped, by a wrong clock perhaps
    ("role", np.int8),
    ("delayed", np.bool_),
    ("skewed", np.bool_),
    ("fault", np.uint32),  # which fault a malformed row has: a random number for the codec
]
IMPRESSION = np.dtype(
    [
        *_ROW,
        ("user", np.int32),
        ("ad", np.int32),
        ("publisher", np.int32),
        ("device", np.int8),
        ("hour", np.int8),
        ("logged_in", np.int8),
        ("position", np.int16),
    ]
)
CLICK = np.dtype([*_ROW, ("impression_ts", np.int64), ("type", np.int8)])
TRUTH = np.dtype(
    [
        ("id", np.uint64),
        ("ts", np.int64),
        ("true_p", np.float64),
        ("clicked", np.bool_),
        ("long_clicked", np.bool_),
        ("delay", np.int64),  # −1: never clicked
    ]
)


@dataclass(frozen=True, slots=True)
class TrafficChunk:
    """The rows that a range of impressions leads to.

    impressions, clicks: rows for the logs, in no order. truth: one row an impression, in order.
    frontier: no row of a later chunk arrives before this (ms).
    """

    impressions: Rows
    clicks: Rows
    truth: Rows
    frontier: int


class Traffic:
    """All the traffic of a simulation, in chunks of impressions."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.world = World(settings)
        self.delays = Delays(
            settings.delay_median, settings.window, settings.beyond_window, settings.longest_delay
        )
        self._truth = Truth(self.world)
        self._random = self.world.random

    def chunk(self, begin: int, end: int) -> TrafficChunk:
        """What impressions `begin` to `end` − 1 lead to."""
        shown = self.world.shown(np.arange(begin, end))
        impressions = self._impressions(shown)
        truth = self._outcome(shown, impressions)
        clicks = self._clicks(shown, truth)
        return TrafficChunk(
            impressions=self._with_faults(impressions, "impression"),
            clicks=self._with_faults(clicks, "click"),
            truth=truth,
            frontier=int(shown.time[-1]),
        )

    def _impressions(self, shown: Shown) -> Rows:
        """The impressions' own rows."""
        rows = np.zeros(len(shown.index), dtype=IMPRESSION)
        rows["id"] = self._id(shown.index)
        for code in ("user", "ad", "publisher", "device", "hour", "logged_in", "position"):
            rows[code] = getattr(shown, code)
        self._log(rows, "impression", shown.index, shown.time)
        return rows

    def _outcome(self, shown: Shown, impressions: Rows) -> Rows:
        """Each impression's true probability, and its clicks."""
        s, random, index = self.settings, self._random, shown.index
        rows = np.zeros(len(index), dtype=TRUTH)
        rows["id"] = impressions["id"]
        rows["ts"] = impressions["ts"]
        rows["true_p"] = self._truth.probability(shown)
        rows["clicked"] = random.uniform("clicked", index) < rows["true_p"]
        rows["long_clicked"] = rows["clicked"] & random.happens("long", index, s.long_click_share)
        delay = self.delays.quantile(random.uniform("delay", index))
        rows["delay"] = np.where(rows["clicked"], delay, -1)
        return rows

    def _clicks(self, shown: Shown, truth: Rows) -> Rows:
        """The true clicks' rows, of every type."""
        parts = []
        for kind, (column, after) in enumerate(
            [("clicked", 0), ("long_clicked", self.settings.dwell)]
        ):
            chosen = np.flatnonzero(truth[column])
            rows = np.zeros(len(chosen), dtype=CLICK)
            rows["id"] = truth["id"][chosen]
            rows["impression_ts"] = truth["ts"][chosen]
            rows["type"] = kind
            time = shown.time[chosen] + truth["delay"][chosen] + after
            self._log(rows, "click", 2 * shown.index[chosen] + kind, time)
            parts.append(rows)
        return np.concatenate(parts)

    def _log(self, rows: Rows, log: str, number: I64, time: I64) -> None:
        """Stamp and deliver events: `number` is distinct within the log, `time` is true."""
        s, random = self.settings, self._random
        rows["sequence"] = number * 4
        rows["skewed"] = random.happens(f"{log} skewed", number, s.skewed_rate)
        ahead = random.happens(f"{log} ahead", number, 0.5)
        rows["ts"] = time + rows["skewed"] * np.where(ahead, s.skew, -s.skew)
        rows["delayed"] = random.happens(f"{log} delayed", number, s.out_of_order_rate)
        late = 1 + random.below(f"{log} late", number, s.out_of_order_spread)
        on_the_way = random.below(f"{log} transport", number, s.transport + 1)
        rows["arrival"] = time + on_the_way + rows["delayed"] * late

    def _with_faults(self, rows: Rows, log: str) -> Rows:
        """The rows, and the duplicates, orphans and malformed rows among them."""
        s = self.settings
        again = self._extra(rows, f"{log} again", s.duplicate_rate, DUPLICATE)
        again["arrival"] += 1 + self._random.below(
            f"{log} again after", again["sequence"] // 4, s.duplicate_spread
        )
        bad = self._extra(rows, f"{log} malformed", s.malformed_rate, MALFORMED)
        bad["fault"] = self._random.bits(f"{log} fault", bad["sequence"] // 4) >> np.uint64(32)
        parts = [rows, again, bad]
        # Ids of their own: the bijection of other numbers than the impressions'.
        if log == "click":
            orphans = self._extra(rows, "click orphan", s.orphan_rate, ORPHAN)
            orphans["id"] = self._id(s.impressions + orphans["sequence"] // 4)
            parts.append(orphans)
            bad["id"] = self._id(3 * s.impressions + bad["sequence"] // 4)
        else:
            bad["id"] = self._id(5 * s.impressions + bad["sequence"] // 4)
        return np.concatenate(parts)

    def _extra(self, rows: Rows, name: str, rate: float, role: int) -> Rows:
        """Copies, in the given role, of rows chosen at a rate."""
        chosen = rows[self._random.happens(name, rows["sequence"] // 4, rate)]
        chosen["role"] = role
        chosen["sequence"] += role
        return chosen

    def _id(self, number: I64) -> U64:
        """The id of an impression: distinct for distinct numbers."""
        return self._random.bits("impression id", number)
