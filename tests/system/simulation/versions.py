"""Made-up later versions of the program, whose rules differ: workers are upgraded to them.

What the rules say, for the joiner and for the oracle.
"""

from typing import Any

import pytest

from joiner.core.kernel_types import CLOSE, SAMPLE
from joiner.core.sampling import salt
from streams.merge import ORDERS, Order
from streams.rules import FIRST, RuleNumbers

VERSIONS = (
    FIRST,
    RuleNumbers(accept=2),
    RuleNumbers(accept=2, close=2, order=2),
    RuleNumbers(accept=3, close=2, order=2, sample=2),
)
NEWEST = VERSIONS[-1]
# By the number of the rule `accept`, which rows are refused that are good by the first.
REFUSES = {
    2: lambda row: row["impression_id"].endswith("7"),
    3: lambda row: row["impression_id"].endswith("3"),
}
_LONGER = 9  # ms that an impression is known by rule `close` 2 beside what it is by 1


def register(patch: pytest.MonkeyPatch) -> None:
    """Have the program know these rules."""
    first, order = CLOSE[1], ORDERS[1]
    patch.setitem(CLOSE, 2, lambda join: _longer(first(join)))
    patch.setitem(SAMPLE, 2, lambda seed: salt(seed ^ 1))
    # On a tie the click goes first.
    patch.setitem(
        ORDERS,
        2,
        Order(
            lambda a, b, over: order.certain(2 * a + 1, 2 * b, over),
            lambda a, b: order.order(2 * a + 1, 2 * b),
        ),
    )


def _longer(spans: Any) -> Any:
    return spans._replace(known_span=spans.known_span + _LONGER)


def oracle_keys(keys: list[list[int]], rules: RuleNumbers) -> list[list[int]]:
    """Times of the rows of both logs that give their order by the first rule as by that one."""
    if rules.order == 1:
        return keys
    return [[2 * key + 1 for key in keys[0]], [2 * key for key in keys[1]]]


def oracle_settings(plain: dict[str, Any], rules: RuleNumbers) -> dict[str, Any]:
    """The oracle's settings, from a joiner's plain state and by the rules it names."""
    join, sampling = plain["join"], plain["sampling"]
    dedupe = join["dedupe_horizon"]
    if rules.close == 2:
        known = join["window"] if dedupe is None else dedupe
        dedupe = max(known, join["correction_horizon"]) + _LONGER
    return {
        "window": join["window"],
        "lateness": join["lateness"],
        "horizon": join["correction_horizon"],
        "dedupe": dedupe,
        "rate": sampling["keep_rate"],
        "seed": sampling["seed"] ^ (rules.sample - 1),
        "breaker_wait": join["breaker_wait"],
        "breaker_clicks": join["breaker_clicks"],
        "breaker_absence": join["breaker_absence"],
        "breaker_fraction": join["breaker_fraction"],
    }
