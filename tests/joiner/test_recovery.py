"""A joiner rebuilt from a point on knows of later impressions what the first one knew."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from joiner import Joiner
from joiner.core.joiner import FLOOR
from joiner.core.kernel_types import NOT_ACCEPTED, NOT_EARLY
from joiner.core.ring import DECIDED
from streams.events import NEVER
from tests.joiner.test_joiner import cases
from tests.oracles.join import OracleJoin
from tests.support.join_events import Event, click, impression, settings_of, step
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

CODES = {"impressions": NOT_ACCEPTED, "clicks": NOT_EARLY}


def take(joiner: Joiner, event: Event, types: tuple[str, ...], code: int | None = None) -> bool:
    """Give the joiner an event, perhaps with another code; whether it was accepted, or waits."""
    shown, clicked, order = step([event], types)
    if code is not None:
        order = np.array([code], np.uint8)
    output = joiner.process(shown, clicked, order)
    return bool(np.concatenate([output.accepted, output.early]).any())


def known(joiner: Joiner, oracle: OracleJoin) -> list[tuple[Any, ...]]:
    """The impressions that are still known, in order."""
    _, join, _ = settings_of(oracle)
    return [
        tuple(row.values())
        for row in joiner.state()["known"].to_pylist()
        if not row["flags"] & DECIDED or joiner.watermarks.join <= row["ts"] + join.known_span
    ]


def rebuilt(
    first: Joiner, oracle: OracleJoin, events: list[Event], *, floor: bool
) -> tuple[Joiner, int]:
    """`first` goes on through the events; the other begins where it was and goes along.

    The other, and how many impressions were accepted meanwhile.
    """
    schema, _, _ = settings_of(oracle)
    second = Joiner.without_rows(schema, first.metadata())
    if not floor:
        second._watermarks[FLOOR] = NEVER
    accepted = 0
    for event in events:
        went = take(first, event, oracle.types)
        take(second, event, oracle.types, None if went else CODES[event.source])
        accepted += went and event.source == "impressions"
    return second, accepted


@settings(
    max_examples=tries(100),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(cases(), st.integers(5, 40))
def test_it_knows_the_same_of_what_came_after(
    case: tuple[OracleJoin, list[Event], list[int]], at: int
) -> None:
    oracle, events, _ = case
    events = [event for event in events if "end" not in event.source]
    first = Joiner(*settings_of(oracle))
    for event in events[:at]:
        take(first, event, oracle.types)
    assume(not first.state()["waiting"].num_rows)
    second, accepted = rebuilt(first, oracle, events[at:], floor=True)
    entries = first.state()["known"].num_rows
    later = {
        tuple(row.values())
        for row in first.state()["known"].slice(max(0, entries - accepted)).to_pylist()
    }
    assert known(second, oracle) == [one for one in known(first, oracle) if one in later]
    assert first.watermarks == second.watermarks


def test_what_was_open_holds_back_what_came_after_it() -> None:
    """An impression of the future keeps the queue from moving; a click meanwhile counts."""
    oracle = OracleJoin(window=10, lateness=0, dedupe=1000)
    # `b` is over at 60, but `future` is before it in the queue until 110.
    then = [impression("b", 50, 1), click("x", 101, place=2), impression("y", 105, 3)]
    then += [click("b", 55, place=4), impression("z", 130, 5), click("x", 131, place=6)]
    for floor in (True, False):
        first = Joiner(*settings_of(oracle))
        take(first, impression("future", 100, 0), oracle.types)
        second, _ = rebuilt(first, oracle, then, floor=floor)
        flags = [known(joiner, oracle)[-3][-1] for joiner in (first, second)]
        assert (flags[0] == flags[1]) is floor
