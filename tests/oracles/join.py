"""The join by brute force: one event at a time, plain lists and dictionaries."""

import math
from dataclasses import dataclass, field
from typing import Any

import mmh3

Row = dict[str, Any]

TWO_64 = 1 << 64


def fmix64(h: int) -> int:
    """The 64-bit finalizer of MurmurHash3."""
    h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCD % TWO_64
    h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53 % TWO_64
    return h ^ (h >> 33)


def kept_by_sampling(impression_id: str, seed: int, rate: float) -> bool:
    """Whether a negative with this id is kept."""
    low, _ = mmh3.hash64(impression_id.encode(), 0, signed=False)
    salt = fmix64((seed + 0x9E3779B97F4A7C15) % TWO_64)
    return (fmix64(low ^ salt) >> 11) / (1 << 53) < rate


@dataclass
class Impression:
    """An accepted impression and what became of it."""

    row: Row
    id: str
    ts: int
    labels: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
    click_ts: int | None = None
    decided: bool = False
    kept: bool = True
    forgotten: bool = False
    correctable: bool = True
    keep_rate: float = 1.0


@dataclass
class OracleJoin:
    """Feed it events in order; it holds everything that ever came out.

    Times and spans in milliseconds. dedupe None means the window. breaker_wait 0: no breaker.
    """

    window: int
    lateness: int
    horizon: int = 0
    dedupe: int | None = None
    types: tuple[str, ...] = ("click",)
    rate: float = 1.0
    seed: int = 0
    breaker_wait: int = 0
    breaker_clicks: float = 50.0
    breaker_absence: float = 20.0
    breaker_fraction: float = 0.1
    labelled: list[Row] = field(default_factory=list)
    late: list[Row] = field(default_factory=list)
    rejected: list[Row] = field(default_factory=list)
    matched_delays: list[int] = field(default_factory=list)
    late_delays: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing was seen, nothing is pending."""
        self.marks = {"impressions": -math.inf, "clicks": -math.inf}  # watermarks
        self.queue: list[Impression] = []  # accepted, in order of arrival
        self.head = 0  # the first of them that is not decided
        self.by_id: dict[str, list[Impression]] = {}
        self.waiting: list[Row] = []  # in order of arrival
        self.counts: dict[str, int] = {}
        self.click_counts: dict[str, dict[str, int]] = {t: {} for t in self.types}
        self.shown = self.clicked = 0.0  # of the long run
        self.expected = self.seen_in_time = 0.0  # of the sample
        self.absent = 0.0  # clicks expected since the last one
        self.click_rate = 0.0  # of the long run, taken at each click and each judgement
        self.quiet = 0  # impressions since either
        self.breaker_open = False
        self.openings = self.closings = 0

    def impression(self, row: Row) -> None:
        """The next event is an impression."""
        self._count("impressions")
        impression_id, ts = row["impression_id"], row["ts"]
        if self._known(impression_id) is not None:
            self._count("duplicates")
        elif self._watermark() > ts + self.window:
            self._count("rejected")
            self._reject("impressions", row, None, "too_late")
        else:
            new = Impression(row, impression_id, ts)
            self.queue.append(new)
            self.by_id.setdefault(impression_id, []).append(new)
            resolved = [c for c in self.waiting if c["impression_id"] == impression_id]
            if resolved:
                self.waiting = [c for c in self.waiting if c["impression_id"] != impression_id]
            for click in resolved:
                self._meet(click, new)
        self._advance("impressions", row)
        if self.marks["clicks"] < math.inf:
            self._impression_shown()
        self._after_event()

    def click(self, row: Row) -> None:
        """The next event is a click; `type` is a name."""
        self._count_click(row, "read")
        known = self._known(row["impression_id"])
        if known is None:
            self.waiting.append(row)
        else:
            self._meet(row, known)
        if row["type"] == "click" and row["ts"] >= self._watermark():
            self._click_in_time()
        self._advance("clicks", row)
        self._after_event()

    def end(self, source: str) -> None:
        """The next event is the end of a source."""
        self.marks[source] = math.inf
        if source == "clicks":
            self.breaker_open = False
        self._after_event()

    def advance_idle(self, source: str, *, even_if_open: bool = True) -> None:
        """The next event: a source is idle, and does not hold the watermark back.

        Not while the breaker is open, unless even_if_open.
        """
        if even_if_open or not self.breaker_open:
            self.marks[source] = max(self.marks.values())
        self._after_event()

    def reconfigure(self, **changes: Any) -> None:
        """Other settings, by their names here, for all that is not decided yet."""
        for shown in self.queue[: self.head]:
            if self._known(shown.id) is not shown:
                shown.forgotten = True
            if self.horizon == 0:
                shown.correctable = False
        for name, value in changes.items():
            setattr(self, name, value)

    def ledger(self) -> Row:
        """The counts at this moment, by the names of the joiner's ledger."""
        names = ("impressions", "positives", "negatives", "sampled_out", "duplicates")
        counts: Row = {n: self.counts.get(n, 0) for n in (*names, "rejected", "corrections")}
        counts["open"] = len(self.queue) - self.head
        parts = ("read", "matched", "duplicates", "late", "orphans", "rejected", "positives")
        counts["clicks"] = {
            t: {p: self.click_counts[t].get(p, 0) for p in parts}
            | {"waiting": sum(c["type"] == t for c in self.waiting)}
            for t in self.types
        }
        return counts

    def _advance(self, source: str, row: Row) -> None:
        moved = row["clock" if "clock" in row else "ts"] - self.lateness
        self.marks[source] = max(self.marks[source], moved)

    def _watermark(self) -> float:
        return min(self.marks.values())

    def _known(self, impression_id: str) -> Impression | None:
        dedupe = self.window if self.dedupe is None else self.dedupe
        span = self.window + max(self.horizon, dedupe)
        for one in self.by_id.get(impression_id, []):
            in_time = self._watermark() <= one.ts + span and not one.forgotten
            if not one.decided or in_time:
                return one
        return None

    def _meet(self, click: Row, shown: Impression) -> None:
        kind, delay = click["type"], click["ts"] - shown.ts
        if delay < -self.lateness:
            self._count_click(click, "rejected")
            self._reject("clicks", click, kind, "before_impression")
        elif not shown.decided and delay <= self.window + self.horizon:
            if kind == "click":
                earliest = click["ts"] if shown.click_ts is None else shown.click_ts
                shown.click_ts = min(earliest, click["ts"])
            if kind in shown.labels:
                self._count_click(click, "duplicates")
            else:
                self._count_click(click, "matched")
                if kind == "click":
                    self.matched_delays.append(max(delay, 0))
            shown.labels.add(kind)
            shown.recorded.add(kind)
        elif kind in shown.recorded:
            self._count_click(click, "duplicates")
        else:
            shown.recorded.add(kind)
            self._late(click, shown, delay)

    def _late(self, click: Row, shown: Impression, delay: int) -> None:
        self._count_click(click, "late")
        self.late.append(
            {
                "impression_id": shown.id,
                "click_ts": click["ts"],
                "impression_ts": shown.ts,
                "type": click["type"],
                "delay": max(delay, 0),
                "src_offset": click["src_offset"],
                "src_row": click["src_row"],
            }
        )
        if click["type"] != "click":
            return
        self.late_delays.append(max(delay, 0))
        in_time = delay <= self.window + self.horizon
        if self.horizon > 0 and shown.correctable and shown.decided and in_time:
            self._count("corrections")
            self._emit(shown, 1, 1, click["ts"])

    def _impression_shown(self) -> None:
        """Judge the breaker when a sample is full, or when no click came for too long."""
        self.quiet += 1
        if self.click_rate == 0 or not self._judges():
            return
        sample_left = self.breaker_clicks - self.expected
        absence_left = math.inf if self.breaker_open else self.breaker_absence - self.absent
        patience = math.ceil(min(sample_left, absence_left) / self.click_rate)
        if self.quiet < max(1, patience):
            return
        self._expect_clicks()
        sample_is_full = self.expected >= self.breaker_clicks
        rare = sample_is_full and self.seen_in_time < self.breaker_fraction * self.expected
        silent = self.absent >= self.breaker_absence
        if not self.breaker_open and (silent or rare):
            self.breaker_open = True
            self.openings += 1
            sample_is_full = True
        if sample_is_full:
            self.expected = self.seen_in_time = 0.0
        self.click_rate = self.clicked / self.shown

    def _click_in_time(self) -> None:
        """A click that is not behind the watermark was read: perhaps an outage is over."""
        self._expect_clicks()
        self.clicked += 1
        if self.breaker_wait > 0 and self.clicked >= 400 * self.breaker_clicks:
            self.clicked /= 2
            self.shown /= 2
        self.seen_in_time += 1
        self.absent = 0.0
        if self.breaker_open and self.seen_in_time >= max(1, self.breaker_clicks / 2):
            self.breaker_open = False
            self.closings += 1
            self.expected = self.seen_in_time = 0.0
        if self.shown > 0:
            self.click_rate = self.clicked / self.shown

    def _expect_clicks(self) -> None:
        """Count the impressions since the last click or judgement."""
        self.shown += self.quiet
        if self._judges():
            self.expected += self.quiet * self.click_rate
            self.absent += self.quiet * self.click_rate
        self.quiet = 0

    def _judges(self) -> bool:
        return self.breaker_wait > 0 and self.clicked >= self.breaker_clicks

    def _after_event(self) -> None:
        passed = self.marks["impressions"]
        orphans = [c for c in self.waiting if passed > c["ts"] + self.lateness]
        if orphans:
            self.waiting = [c for c in self.waiting if passed <= c["ts"] + self.lateness]
        for click in sorted(orphans, key=lambda c: int(c["ts"])):  # stable: then by arrival
            self._count_click(click, "orphans")
            self._reject("clicks", click, click["type"], "orphan")
        while self.head < len(self.queue):
            first = self.queue[self.head]
            wait = self.breaker_wait if self.breaker_open else 0
            if self._watermark() <= first.ts + self.window + wait:
                break
            self.head += 1
            self._decide(first)

    def _decide(self, first: Impression) -> None:
        first.decided = True
        for kind in first.labels:
            counts = self.click_counts[kind]
            counts["positives"] = counts.get("positives", 0) + 1
        if not first.labels:
            first.keep_rate = self.rate
            first.kept = kept_by_sampling(first.id, self.seed, self.rate)
        if not first.kept:
            self._count("sampled_out")
            return
        label = int("click" in first.labels)
        self._count("positives" if label else "negatives")
        self._emit(first, 0, label, first.click_ts)

    def _emit(self, shown: Impression, kind: int, label: int, click_ts: int | None) -> None:
        others = {f"label_{t}": int(t in shown.labels) for t in self.types if t != "click"}
        self.labelled.append(
            shown.row
            | {"label": label}
            | others
            | {
                "click_ts": click_ts,
                "kind": kind,
                "keep_rate": shown.keep_rate,
                "kept": shown.kept,
            }
        )

    def _reject(self, source: str, row: Row, kind: str | None, reason: str) -> None:
        self.rejected.append(
            {
                "source": source,
                "src_offset": row["src_offset"],
                "src_row": row["src_row"],
                "impression_id": row["impression_id"],
                "ts": row["ts"],
                "type": kind,
                "reason": reason,
            }
        )

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def _count_click(self, click: Row, name: str) -> None:
        counts = self.click_counts[click["type"]]
        counts[name] = counts.get(name, 0) + 1
