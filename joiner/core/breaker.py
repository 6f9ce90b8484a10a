"""The breaker, which opens when clicks are missing, so that labels wait for them.

Clicks that are missing look like negatives. Whether they are missing is judged from the events
alone: how many clicks the impressions read since let expect, at the long-run rate, and how many
came in time. A click that is behind the join's watermark is no sign of health: it may be the
backlog of an outage, and emission must wait until that has passed.

The counts of an absence are compared with chance as for a Poisson process: where x clicks are
expected, none comes with probability exp(-x).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from joiner.settings import JoinSettings
from streams.compute.arrays import F64
from streams.compute.jit import kernel

_RECOVERED = 0.5  # this share of a sample's expected clicks, in time, closes the breaker
_MEMORY = 400.0  # samples after which the long run halves its counts

# Indexes into the breaker's state. SHOWN and CLICKED are the impressions and clicks of the long
# run, RATE their ratio. EXPECTED and SEEN are clicks of the present sample, ABSENT the clicks
# expected since the last one. All are counted up to the last click or judgement; QUIET counts the
# impressions since then. OPEN is 0 or 1.
SHOWN, CLICKED, RATE, EXPECTED, SEEN, ABSENT, QUIET, OPEN, OPENINGS = range(9)

_NOT_DUE = 1 << 62


class BreakerSettings(NamedTuple):
    """The breaker's settings as the kernels take them.

    wait: milliseconds. sample, absence, enough, memory: clicks; sample and memory are infinite
    where the breaker is off, so that nothing is ever judged. fraction: of a sample.
    """

    wait: int
    sample: float
    absence: float
    fraction: float
    enough: float
    memory: float


@dataclass(frozen=True, slots=True)
class BreakerState:
    """The breaker at a moment.

    open: whether emission waits. rate: clicks for each impression in the long run, as of the last
    click or judgement, 0 before. openings: how often it has opened.
    """

    open: bool
    rate: float
    openings: int


def breaker_settings(join: JoinSettings) -> BreakerSettings:
    """The settings as the kernels take them."""
    sample = join.breaker_clicks if join.breaker_wait else math.inf
    return BreakerSettings(
        wait=join.breaker_wait,
        sample=sample,
        absence=join.breaker_absence,
        fraction=join.breaker_fraction,
        enough=max(1.0, _RECOVERED * sample),
        memory=_MEMORY * sample,
    )


def new_breaker() -> F64:
    """The state before the first event: closed, nothing seen."""
    return np.zeros(OPENINGS + 1, np.float64)


def breaker_state(state: F64) -> BreakerState:
    """What the kernels' state says."""
    return BreakerState(
        open=bool(state[OPEN]), rate=float(state[RATE]), openings=int(state[OPENINGS])
    )


@kernel
def count_impressions(state: F64, settings: BreakerSettings, quiet: int) -> None:
    """Count the impressions, `quiet`, that were read since the last click or judgement."""
    state[SHOWN] += quiet
    if state[CLICKED] >= settings.sample:
        expected = quiet * state[RATE]
        state[EXPECTED] += expected
        state[ABSENT] += expected


@kernel
def due(state: F64, settings: BreakerSettings) -> int:
    """The number of impressions since the last click after which to judge, if no click comes."""
    if state[CLICKED] < settings.sample or state[RATE] == 0.0:
        return _NOT_DUE
    left: float = settings.sample - state[EXPECTED]
    if state[OPEN] == 0.0:
        left = min(left, settings.absence - state[ABSENT])
    rate: float = state[RATE]
    return max(1, math.ceil(left / rate))


@kernel
def judge(state: F64, settings: BreakerSettings, quiet: int) -> int:
    """Judge after `quiet` impressions without a click. The result is `due`'s."""
    count_impressions(state, settings, quiet)
    full = state[EXPECTED] >= settings.sample
    if state[OPEN] == 0.0:
        rare = full and state[SEEN] < settings.fraction * state[EXPECTED]
        if rare or state[ABSENT] >= settings.absence:
            state[OPEN] = 1.0
            state[OPENINGS] += 1.0
            full = True
    if full:
        state[EXPECTED] = 0.0
        state[SEEN] = 0.0
    state[RATE] = state[CLICKED] / state[SHOWN]
    return due(state, settings)


@kernel
def count_click(state: F64, settings: BreakerSettings, quiet: int) -> int:
    """Count a click of type `click` in time, after `quiet` impressions. The result is `due`'s."""
    count_impressions(state, settings, quiet)
    state[CLICKED] += 1.0
    if state[CLICKED] >= settings.memory:
        state[CLICKED] *= 0.5
        state[SHOWN] *= 0.5
    state[SEEN] += 1.0
    state[ABSENT] = 0.0
    if state[OPEN] != 0.0 and state[SEEN] >= settings.enough:
        state[OPEN] = 0.0
        state[EXPECTED] = 0.0
        state[SEEN] = 0.0
    if state[SHOWN] > 0.0:
        state[RATE] = state[CLICKED] / state[SHOWN]
    return due(state, settings)
