"""The logs of one partition in memory, and everything that may go wrong with them.

All choices come from one `random.Random`, so a seed replays exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from joiner import JoinSettings, SamplingSettings
from streams.compute.arrays import I64
from streams.deadletter import DeadLetter, Source
from streams.labelled_log import Claim, Entry, decode, encode
from streams.position import RowPosition, row_position
from streams.record import RowChunk
from streams.rules import TODAY, RuleNumbers
from streams.schema import EventSchema

IDS = 24
TYPES = ("click", "hide")
SOURCES: tuple[Source, Source] = ("impressions", "clicks")


Refuses = Callable[[dict[str, Any]], bool]


@dataclass
class InputLog:
    """An input topic's partition: rows in messages, some of them bad.

    batch, clock: all good rows and their times for the watermark. letters: all bad ones. ends:
    the offset after the messages there are so far. first: the first offset not deleted. refuses:
    by the number of the rule `accept`, which of the good rows it refuses.
    """

    source: Source
    batch: pa.RecordBatch
    clock: I64
    letters: list[DeadLetter]
    messages: int
    end: int = 0
    first: int = 0
    refuses: dict[int, Refuses] = field(default_factory=dict)

    def chunk(self, start: int, stop: int, rules: RuleNumbers = TODAY) -> RowChunk:
        """The messages of the offsets start to stop, judged by these rules."""
        offsets: I64 = self.batch.column("src_offset").to_numpy()
        a, b = np.searchsorted(offsets, [start, stop]).tolist()
        bad = tuple(one for one in self.letters if start <= one.src_offset < stop)
        whole = RowChunk(self.batch.slice(a, b - a), bad, self.clock[a:b])
        good, letters = self.judged(whole.rows.to_pylist(), rules)
        if not letters:
            return whole
        places = {(row["src_offset"], row["src_row"]) for row in good}
        kept = np.array([row_position(whole.rows, i) in places for i in range(b - a)], np.bool_)
        every = sorted([*bad, *letters], key=lambda letter: letter.position)
        return RowChunk(whole.rows.filter(pa.array(kept)), tuple(every), self.clock[a:b][kept])

    def judged(
        self, rows: list[dict[str, Any]], rules: RuleNumbers
    ) -> tuple[list[dict[str, Any]], list[DeadLetter]]:
        """Of good rows those that these rules accept, and letters for the others."""
        refuses = self.refuses.get(rules.accept)
        if refuses is None:
            return rows, []
        letters = [self._letter(row) for row in rows if refuses(row)]
        return [row for row in rows if not refuses(row)], letters

    def _letter(self, row: dict[str, Any]) -> DeadLetter:
        click_type = None if self.source == "impressions" else TYPES[row["type"]]
        place = row["src_offset"], row["src_row"]
        return DeadLetter(self.source, "topic", *place, "refused", "", click_type=click_type)

    def rows(self) -> list[dict[str, Any]]:
        """Every good row with its clock."""
        rows: list[dict[str, Any]] = self.batch.to_pylist()
        return [
            row | {"clock": clock} for row, clock in zip(rows, self.clock.tolist(), strict=True)
        ]


@dataclass
class Message:
    """A message of the labelled topic, as bytes."""

    header: bytes
    value: bytes

    def entry(self, offset: int) -> Entry:
        return Entry(offset, decode(self.header, f"offset {offset}"))


@dataclass
class World:
    """The three logs, and what workers reported and committed."""

    random: Random
    schema: EventSchema
    inputs: tuple[InputLog, InputLog]
    labelled: list[Message] = field(default_factory=list)
    labelled_first: int = 0
    committed: list[int] = field(default_factory=lambda: [0, 0])
    reported: set[tuple[str, RowPosition, str]] = field(default_factory=set)
    late: set[tuple[RowPosition, int]] = field(default_factory=set)
    happened: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, times: int = 1) -> None:
        """Something happened: a scenario that never does it proves nothing."""
        self.happened[what] = self.happened.get(what, 0) + times

    def last_claim(self) -> int:
        """The offset of the claim that holds."""
        claims = (o for o, m in enumerate(self.labelled) if isinstance(m.entry(o).header, Claim))
        return max(claims, default=-1)

    def read_labelled(self, start: int, stop: int) -> list[Entry]:
        """The messages that are still there."""
        start = max(start, self.labelled_first)
        return [self.labelled[at].entry(at) for at in range(start, min(stop, len(self.labelled)))]


def settings(random: Random, types: tuple[str, ...]) -> tuple[JoinSettings, SamplingSettings]:
    """A join of a few milliseconds."""
    join = JoinSettings(
        window=random.randint(1, 20),
        lateness=random.randint(0, 6),
        correction_horizon=random.choice([0, 5, 30, 60]),
        dedupe_horizon=random.choice([None, 0, 0, 40]),
        click_types=types,
        breaker_wait=random.choice([0, 3, 30, 90]),
        breaker_clicks=random.choice([1.0, 3.0]),
        breaker_absence=random.choice([1.0, 2.0]),
        breaker_fraction=0.4,
    )
    rate = random.choice([1.0, 0.5, 0.2])
    return join, SamplingSettings(keep_rate=rate, seed=random.randrange(1 << 64))


def new_world(random: Random, events: int) -> World:
    """Two logs out of order, with repeated and unknown ids, late and early clicks, bad rows."""
    types = random.choice([TYPES, TYPES, TYPES[:1]])
    schema = EventSchema((), types)
    logs = tuple(_log(random, source, schema, events) for source in SOURCES)
    return World(random, schema, (logs[0], logs[1]))


def _log(random: Random, source: Source, schema: EventSchema, events: int) -> InputLog:
    now, place = 30, (0, 0)
    rows: list[dict[str, Any]] = []
    clock: list[int] = []
    letters: list[DeadLetter] = []
    for _ in range(random.randint(events // 2, events)):
        more = random.random() < 0.4  # of the same message
        place = (place[0], place[1] + 1) if more else (place[0] + random.choice([1, 1, 2]), 0)
        now += random.choice([0, 0, 1, 1, 2, 3, 8])
        if random.random() < 0.08:
            letters.append(DeadLetter(source, "topic", *place, "bad_json", "not JSON"))
            continue
        beside = random.choice([0, 0, 0, -1, 1, -3, -9, -20, 4])
        rows.append(_row(random, source, schema, now + beside, place))
        clock.append(min(now + beside, now + 2))
    batch = pa.RecordBatch.from_pylist(
        rows, schema.impressions if source == "impressions" else schema.clicks
    )
    return InputLog(source, batch, np.array(clock, np.int64), letters, place[0] + 1)


def _row(
    random: Random, source: Source, schema: EventSchema, ts: int, place: RowPosition
) -> dict[str, Any]:
    own = {"impression_id": f"i{random.randrange(IDS)}", "ts": ts}
    own |= {"src_offset": place[0], "src_row": place[1]}
    if source == "clicks":
        return own | {"type": random.randrange(len(schema.click_types))}
    return own | {"offset": 0.0, "weight": 1.0}


def message(header: Any, value: bytes) -> Message:
    """What a worker publishes, on the wire."""
    return Message(encode(header), value)
