"""What the kernels are given and give: settings as numbers, events, counts, facts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from joiner.core.breaker import BreakerRules, breaker_rules
from joiner.core.ledger import DELAY_EDGES, ClickCount, ImpressionCount
from joiner.core.sampling import salt
from joiner.settings import JoinSettings, SamplingSettings
from streams.compute.arrays import I8, I32, I64, U8, U64
from streams.rules import RuleNumbers

Int = int | np.int64

# Codes of an event in the order array.
IMPRESSION, CLICK, IMPRESSIONS_END, CLICKS_END = 0, 1, 2, 3
# A log that is idle does not hold the watermark back: it is lifted to the other's.
LIFT_IMPRESSIONS, LIFT_CLICKS = 4, 5
# A row that is read again: an impression that was not accepted, a click that did not wait.
PASSED, MET = 6, 7
# The same lifts, but also while the breaker is open.
FORCE_IMPRESSIONS, FORCE_CLICKS = 8, 9
CODES = 10

# Which logs are idle, as bits; and whether they are lifted also while the breaker is open.
IDLE_IMPRESSIONS, IDLE_CLICKS, EVEN_IF_OPEN = 1, 2, 4

# A source's watermark before its first row, and after its end.
NEVER, FOREVER = -(1 << 62), 1 << 62

# Reasons of a rejection: their index here is their code in Facts.rejects.
REASONS = ("too_late", "before_impression", "orphan")
TOO_LATE, BEFORE_IMPRESSION, ORPHAN = 0, 1, 2

# Indexes into Facts.filled.
WAITED, REJECTED, LATE, CORRECTED = 0, 1, 2, 3


class Spans(NamedTuple):
    """By what impressions close and are forgotten, ms: W, L, and W + max(H, D)."""

    window: int
    lateness: int
    known_span: int


class Rules(NamedTuple):
    """The settings as numbers: milliseconds; the share r; the seed of the sampling hash, mixed;
    the breaker's. corrects_from: the sequence number of the first impression that is corrected.
    """

    window: int
    lateness: int
    label_span: int
    known_span: int
    corrects_from: int
    keep_rate: float
    salt: np.uint64
    breaker: BreakerRules


class Events(NamedTuple):
    """A step: the order of its events, then the columns of its impressions and its clicks;
    the clocks are the times that move the watermarks.
    """

    order: U8
    impression_lo: U64
    impression_hi: U64
    impression_ts: I64
    impression_clock: I64
    click_lo: U64
    click_hi: U64
    click_ts: I64
    click_clock: I64
    click_type: I8


class Tally(NamedTuple):
    """Counts: impressions [7], clicks [types + 1, 8], delays [matched and late, bins]."""

    impressions: I64
    clicks: I64
    delays: I64


class Facts(NamedTuple):
    """What a step must report, in event order; `filled` says how many rows of each are.

    A click is named by a reference: its row in this step, or -1 - k for waiting click k.
    accepted: one flag for each impression row. waited: the row of each click that began to
    wait. rejects: (reason, impression row or click reference). late: (click reference,
    impression ts). corrections: (sequence number, how many impressions were decided before
    it, click ts).
    """

    accepted: U8
    waited: I32
    rejects: I64
    late: I64
    corrections: I64
    filled: I64


# What the rules of these names say, by their numbers (`streams.rules`).
CLOSE: dict[int, Callable[[JoinSettings], Spans]] = {
    1: lambda join: Spans(join.window, join.lateness, join.known_span),
}
MATCH: dict[int, Callable[[JoinSettings], int]] = {1: lambda join: join.label_span}
BREAKER: dict[int, Callable[[JoinSettings], BreakerRules]] = {1: breaker_rules}
SAMPLE: dict[int, Callable[[int], np.uint64]] = {1: salt}


def spans_of(join: JoinSettings, numbers: RuleNumbers) -> Spans:
    """By what impressions close and are forgotten, under rules of these numbers."""
    return CLOSE[numbers.close](join)


def rules_of(join: JoinSettings, sampling: SamplingSettings, numbers: RuleNumbers) -> Rules:
    """The settings as the kernels take them, under rules of these numbers."""
    spans = spans_of(join, numbers)
    return Rules(
        window=spans.window,
        lateness=spans.lateness,
        label_span=MATCH[numbers.match](join),
        known_span=spans.known_span,
        corrects_from=0 if join.correction_horizon else FOREVER,
        keep_rate=sampling.keep_rate,
        salt=SAMPLE[numbers.sample](sampling.seed),
        breaker=BREAKER[numbers.breaker](join),
    )


def lifts(idle: int) -> U8:
    """The codes that lift the logs named by the bits `idle`."""
    if idle & EVEN_IF_OPEN:
        codes = (IDLE_IMPRESSIONS, FORCE_IMPRESSIONS), (IDLE_CLICKS, FORCE_CLICKS)
    else:
        codes = (IDLE_IMPRESSIONS, LIFT_IMPRESSIONS), (IDLE_CLICKS, LIFT_CLICKS)
    return np.array([code for bit, code in codes if idle & bit], np.uint8)


def with_lifts(order: U8, idle: int) -> U8:
    """The order of a step during all of which the logs `idle` names were idle: these are lifted
    before its first event and after each, as if they had ended.
    """
    if not idle:
        return order
    codes = lifts(idle)
    each = np.column_stack([order, np.tile(codes, (len(order), 1))])
    return np.concatenate([codes, each.ravel()])


def empty_tally(click_types: int) -> Tally:
    """All counts 0; the last row of clicks is for those of no declared type."""
    return Tally(
        impressions=np.zeros(len(ImpressionCount), np.int64),
        clicks=np.zeros((click_types + 1, len(ClickCount)), np.int64),
        delays=np.zeros((2, len(DELAY_EDGES)), np.int64),
    )
