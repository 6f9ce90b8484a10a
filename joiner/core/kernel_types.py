"""What the kernels are given and what they report: settings as numbers, events, counts."""

from enum import IntFlag
from typing import NamedTuple

import numpy as np

from joiner.core.breaker import BreakerSettings, breaker_settings
from joiner.core.sampling import salt
from joiner.settings import JoinSettings, SamplingSettings
from streams.compute.arrays import I8, I32, I64, U8, U64
from streams.merge import FOREVER

Int = int | np.int64

# Further codes of an event in the order array, after the four of `streams.merge`.
# A source is idle: its watermark advances to the other's, unless the breaker is open.
ADVANCE_IMPRESSIONS, ADVANCE_CLICKS = 4, 5
# A row that is read again: an impression that was not accepted, a click that did not wait.
NOT_ACCEPTED, NOT_EARLY = 6, 7
# A source is idle: its watermark advances to the other's, even if the breaker is open.
FORCE_IMPRESSIONS, FORCE_CLICKS = 8, 9
CODES = 10


class Idle(IntFlag):
    """Which sources are idle, and whether their watermarks advance even if the breaker is open."""

    IMPRESSIONS = 1
    CLICKS = 2
    EVEN_IF_OPEN = 4


# Reasons of a rejection: their index here is their code in StepReport.rejects.
REASONS = ("too_late", "before_impression", "orphan")
TOO_LATE, BEFORE_IMPRESSION, ORPHAN = 0, 1, 2

# Indexes into StepReport.filled.
EARLY, REJECTED, LATE, CORRECTED = 0, 1, 2, 3


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


def kernel_settings(join: JoinSettings, sampling: SamplingSettings) -> KernelSettings:
    """The settings as the kernels take them."""
    return KernelSettings(
        window=join.window,
        lateness=join.lateness,
        label_span=join.label_span,
        known_span=join.known_span,
        corrects_from=0 if join.correction_horizon else FOREVER,
        keep_rate=sampling.keep_rate,
        salt=salt(sampling.seed),
        breaker=breaker_settings(join),
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
