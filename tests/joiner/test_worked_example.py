"""The join, told in 26 events: read it from top to bottom.

The settings: a click counts for W = 60 s after its impression; events may be L = 5 s out of
order; until W + H = 80 s a click still corrects an emitted negative; an impression stays known
until W + D = 120 s have passed; half of the negatives are kept (r = 0.5). Clicks are of two
types, `click` and `hide`. All times below are in seconds.

A source's watermark is its greatest time minus 5. The join's watermark, from which impressions
close, is the lower of the two; it stands at the right, as it is after the event.
"""

import pytest

from joiner import Joiner, JoinSettings, Ledger, SamplingSettings
from joiner.core.ledger import ClickLedger
from tests.support.join_events import Event, Gathered, click, end, impression, run, schema_of, step

pytestmark = pytest.mark.kernel

TYPES = ("click", "hide")
JOIN = JoinSettings.model_validate(
    {
        "window": "60s",
        "lateness": "5s",
        "correction_horizon": "20s",
        "dedupe_horizon": "60s",
        "click_types": TYPES,
    }
)
# With this seed subsampling drops the negative `d`, and keeps `f` and `a`.
SAMPLING = SamplingSettings(keep_rate=0.5, seed=1)


def shown(name: str, second: int, place: int) -> Event:
    """An impression."""
    return impression(name, second * 1_000, place)


def clicked(name: str, second: int, place: int, kind: str = "click") -> Event:
    """A click."""
    return click(name, second * 1_000, kind, place)


EVENTS = [
    shown("a", 100, 1),
    shown("b", 101, 2),
    clicked("a", 110, 1),  # labels a                                                       96
    clicked("a", 112, 2),  # a duplicate: a has its click                                   96
    clicked("c", 103, 3),  # no impression yet: it waits                                    96
    shown("c", 104, 3),  # the click before it by 1 s labels it                             99
    shown("a", 105, 4),  # a duplicate: a is known                                         100
    clicked("b", 120, 4, "hide"),  # labels b, for its own type                            100
    clicked("z", 115, 5),  # waits                                                         100
    shown("d", 130, 5),  # the impressions reach 125, past 115 + 5: z is an orphan         115
    shown("e", 131, 6),  #                                                                 115
    clicked("d", 120, 6),  # 10 s before its impression: rejected                          115
    clicked("e", 166, 7),  # labels e, 35 s after it                                       126
    shown("f", 171, 7),  # 161 > 100 + 60: a leaves                                        161
    clicked("h", 200, 8),  # waits; 166 > 101 + 60, 104 + 60: b, c leave                   166
    shown("h", 198, 8),  # meets its click; d and e leave, d is dropped                    193
    clicked("d", 205, 9),  # 75 s after it: late, and corrects d                           193
    clicked("b", 207, 10),  # 106 s after it: late, and too late for that                  193
    clicked("b", 208, 11),  # a duplicate: b had its late click                            193
    shown("i", 120, 9),  # its window closed at 180: rejected                              193
    shown("k", 300, 10),  #                                                                203
    clicked("k", 301, 12),  # labels k; f and h leave                                      295
    shown("a", 302, 11),  # a was known until 220: this is a new one                       296
    clicked("y", 310, 13),  # waits                                                        297
    end("clicks"),  #                                                                      297
    end("impressions"),  # y is an orphan; k and the new a leave                             ∞
]

#   id, time, row, label, label_hide, click's time, kind, rate at which kept, first label emitted
LABELLED = [
    ("a", 100, 1, 1, 0, 110, 0, 1.0, True),
    ("b", 101, 2, 0, 1, None, 0, 1.0, True),  # a label of any type: not subject to sampling
    ("c", 104, 3, 1, 0, 103, 0, 1.0, True),
    ("e", 131, 6, 1, 0, 166, 0, 1.0, True),
    ("d", 130, 5, 1, 0, 205, 1, 0.5, False),  # the correction of one that was sampled out
    ("f", 171, 7, 0, 0, None, 0, 0.5, True),
    ("h", 198, 8, 1, 0, 200, 0, 1.0, True),
    ("k", 300, 10, 1, 0, 301, 0, 1.0, True),
    ("a", 302, 11, 0, 0, None, 0, 0.5, True),
]

#   id, click's time, impression's time, type, delay, row of the click
LATE = [
    ("d", 205, 130, "click", 75, 9),
    ("b", 207, 101, "click", 106, 10),
]

#   source, row, id, time, type, reason
REJECTED = [
    ("clicks", 5, "z", 115, "click", "orphan"),
    ("clicks", 6, "d", 120, "click", "before_impression"),
    ("impressions", 9, "i", 120, None, "too_late"),
    ("clicks", 13, "y", 310, "click", "orphan"),
]

LEDGER = Ledger(
    impressions=11,
    positives=5,  # a c e h k
    negatives=3,  # b f a
    sampled_out=1,  # d
    open=0,
    duplicates=1,  # a
    rejected=1,  # i
    corrections=1,  # d
    clicks={
        "click": ClickLedger(
            read=12,
            matched=5,  # a c e h k
            waiting=0,
            duplicates=2,  # a b
            late=2,  # d b
            orphans=2,  # z y
            rejected=1,  # d
            positives=5,
        ),
        "hide": ClickLedger(read=1, matched=1, positives=1),  # b
        "": ClickLedger(),
    },
)

# After the 15th event, as h's click begins to wait.
LEDGER_MIDWAY = Ledger(
    impressions=7,
    positives=2,  # a c
    negatives=1,  # b
    sampled_out=0,
    open=3,  # d e f
    duplicates=1,
    rejected=0,
    corrections=0,
    clicks={
        "click": ClickLedger(
            read=7,
            matched=3,  # a c e
            waiting=1,  # h
            duplicates=1,  # a
            late=0,
            orphans=1,  # z
            rejected=1,  # d
            positives=2,
        ),
        "hide": ClickLedger(read=1, matched=1, positives=1),
        "": ClickLedger(),
    },
)

# The delays in seconds of the matched and the late clicks: a 10, c 0 (1 s before), e 35, h 2, k 1.
MATCHED_DELAYS = [0, 1, 2, 10, 35]
LATE_DELAYS = [75, 106]


@pytest.fixture(params=[1, 4, 26], ids="steps of {}".format)
def told(request: pytest.FixtureRequest) -> tuple[Joiner, Gathered]:
    """The joiner and all it gave, having read the events in steps of so many."""
    joiner = Joiner(schema_of(TYPES), JOIN, SAMPLING)
    cuts = range(0, len(EVENTS), request.param)
    return joiner, run(joiner, EVENTS, list(cuts), TYPES)


def test_labelled_examples(told: tuple[Joiner, Gathered]) -> None:
    _, gathered = told
    rows = [
        (
            row["impression_id"],
            row["ts"] // 1_000,
            row["src_row"],
            row["label"],
            row["label_hide"],
            None if row["click_ts"] is None else row["click_ts"] // 1_000,
            row["kind"],
            row["keep_rate"],
            row["kept"],
        )
        for row in gathered.labelled
    ]
    assert rows == LABELLED


def test_an_example_carries_its_impression(told: tuple[Joiner, Gathered]) -> None:
    _, gathered = told
    by_row = {event.row["src_row"]: event.row for event in EVENTS if event.source == "impressions"}
    for row in gathered.labelled:
        assert {name: row[name] for name in by_row[row["src_row"]]} == by_row[row["src_row"]]


def test_late_clicks(told: tuple[Joiner, Gathered]) -> None:
    _, gathered = told
    rows = [
        (
            row["impression_id"],
            row["click_ts"] // 1_000,
            row["impression_ts"] // 1_000,
            row["type"],
            row["delay"] // 1_000,
            row["src_row"],
        )
        for row in gathered.late
    ]
    assert rows == LATE


def test_rejected_rows(told: tuple[Joiner, Gathered]) -> None:
    _, gathered = told
    rows = [
        (
            row["source"],
            row["src_row"],
            row["impression_id"],
            row["ts"] // 1_000,
            row["type"],
            row["reason"],
        )
        for row in gathered.rejected
    ]
    assert rows == REJECTED


def test_ledger(told: tuple[Joiner, Gathered]) -> None:
    joiner, _ = told
    assert joiner.ledger == LEDGER
    assert joiner.ledger.balances()


def test_ledger_midway() -> None:
    joiner = Joiner(schema_of(TYPES), JOIN, SAMPLING)
    joiner.process(*step(EVENTS[:15], TYPES))
    assert joiner.ledger == LEDGER_MIDWAY
    assert joiner.ledger.balances()
    assert joiner.watermarks.join == 166_000


def test_delays(told: tuple[Joiner, Gathered]) -> None:
    joiner, _ = told
    delays = joiner.delays
    for seconds, counts in ((MATCHED_DELAYS, delays.matched), (LATE_DELAYS, delays.late)):
        expected = [0] * len(delays.edges)
        for second in seconds:
            expected[max(k for k, edge in enumerate(delays.edges) if edge <= second * 1_000)] += 1
        assert counts.tolist() == expected
