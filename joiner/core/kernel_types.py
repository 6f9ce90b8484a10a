"""What the kernels are given and what they report: settings as numbers, events, counts."""

from collections.abc import Callable
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from joiner.core.breaker import BreakerSettings, breaker_settings
from joiner.core.sampling import salt
from joiner.settings import JoinSettings, SamplingSettings
from streams.compute.arrays import I8, I32, I64, U8, U64
from streams.events import FOREVER, ORDER_CODES
from streams.rules import RuleNumbers

Int = int | np.int64

# Further codes of an event in the order array, after the four of `streams.events`.
# A source is idle: its watermark advances to the other's, unless the breaker is open.
ADVANCE_IMPRESSIONS, ADVANCE_CLICKS = ORDER_CODES, ORDER_CODES + 1
# A row that is read again: an impression that was not accepted, a click that did not wait.
NOT_ACCEPTED, NOT_EARLY = ORDER_CODES + 2, ORDER_CODES + 3
# A source is idle: its watermark advances to the other's, even if the breaker is open.
FORCE_IMPRESSIONS, FORCE_CLICKS = ORDER_CODES + 4, ORDER_CODES + 5
CODES = ORDER_CODES + 6


class Idle(IntFlag):
    """Which sources are idle, and whether their watermarks advance even if the breaker is open."""

    IMPRESSIONS = 1
    CLICKS = 2
    EVEN_IF_OPEN = 4

    @classmethod
    def of(cls, impressions: bool, clicks: bool, *, even_if_open: bool) -> "Idle":
        """The flags of these sources; none at all if neither is idle."""
        idle = cls(0)
        if impressions:
            idle |= cls.IMPRESSIONS
        if clicks:
            idle |= cls.CLICKS
        return idle | cls.EVEN_IF_OPEN if idle and even_if_open else idle


class Sizes(NamedTuple):
    """The least sizes of a joiner's parts, from which they grow; tests shrink them.

    ring: impressions. early: clicks. batch: rows; smaller batches are put together.
    """

    ring: int = 1 << 12
    early: int = 1 << 10
    batch: int = 1 << 10


SIZES = Sizes()

# Reasons of a rejection: their index here is their code in StepReport.rejects.
REASONS = ("too_late", "before_impression", "orphan")
TOO_LATE, BEFORE_IMPRESSION, ORPHAN = 0, 1, 2

# Indexes into StepReport.filled.
EARLY, REJECTED, LATE, CORRECTED = 0, 1, 2, 3


class Spans(NamedTuple):
    """The spans by which impressions close and are forgotten, ms: W, L, and W + max(H, D)."""

    window: int
    lateness: int
    known_span: int


class KernelSettings(NamedTuple):
    """The settings as numbers.

    window, lateness, label_span, known_span: ms. corrects_from: the sequence number of the first
    impression that is corrected. keep_rate: r. salt: the seed of the sampling hash, mixed.
    """

    window: int
    lateness: int
    label_span: int
    known_span: int
    corrects_from: int
    keep_rate: float
    salt: np.uint64
    breaker: BreakerSettings


class Events(NamedTuple):
    """The events of a step: their order, then the columns of its impressions and its clicks.

    The clocks are the times, ms, by which the rows move the watermarks.
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


class StepReport(NamedTuple):
    """What the kernel reports of a step, in event order; `filled` counts the rows of each array.

    A click is named by a reference: its row in this step, or -1 - k for row k of the early
    clicks. accepted: a flag for each impression row. early: the row of each click that began to
    wait. rejects: (reason, impression row or click reference). late: (click reference, impression
    ts). corrections: (sequence number, how many impressions were decided before it, click ts).
    """

    accepted: U8
    early: I32
    rejects: I64
    late: I64
    corrections: I64
    filled: I64


# What each rule says, by its number (`streams.rules`).
CLOSE: dict[int, Callable[[JoinSettings], Spans]] = {
    1: lambda join: Spans(join.window, join.lateness, join.known_span),
}
MATCH: dict[int, Callable[[JoinSettings], int]] = {1: lambda join: join.label_span}
BREAKER: dict[int, Callable[[JoinSettings], BreakerSettings]] = {1: breaker_settings}
SAMPLE: dict[int, Callable[[int], np.uint64]] = {1: salt}


def spans_of(join: JoinSettings, numbers: RuleNumbers) -> Spans:
    """The spans by which impressions close and are forgotten, under rules of these numbers."""
    return CLOSE[numbers.close](join)


def kernel_settings(
    join: JoinSettings, sampling: SamplingSettings, numbers: RuleNumbers
) -> KernelSettings:
    """The settings as the kernels take them, under rules of these numbers."""
    spans = spans_of(join, numbers)
    return KernelSettings(
        window=spans.window,
        lateness=spans.lateness,
        label_span=MATCH[numbers.match](join),
        known_span=spans.known_span,
        corrects_from=0 if join.correction_horizon else FOREVER,
        keep_rate=sampling.keep_rate,
        salt=SAMPLE[numbers.sample](sampling.seed),
        breaker=BREAKER[numbers.breaker](join),
    )


def idle_advances(idle: Idle) -> U8:
    """The codes of the events that advance the watermarks of idle sources."""
    if Idle.EVEN_IF_OPEN in idle:
        codes = {Idle.IMPRESSIONS: FORCE_IMPRESSIONS, Idle.CLICKS: FORCE_CLICKS}
    else:
        codes = {Idle.IMPRESSIONS: ADVANCE_IMPRESSIONS, Idle.CLICKS: ADVANCE_CLICKS}
    return np.array([code for source, code in codes.items() if source in idle], np.uint8)


def with_idle_advances(order: U8, idle: Idle) -> U8:
    """The order of a step during all of which the sources `idle` were idle.

    Their watermarks advance before its first event and after each, as if they had ended.
    """
    if not idle:
        return order
    codes = idle_advances(idle)
    events = np.column_stack([order, np.tile(codes, (len(order), 1))])
    return np.concatenate([codes, events.ravel()])
