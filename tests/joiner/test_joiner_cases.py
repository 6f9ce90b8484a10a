"""What the joiner's tests draw: enough of everything that a join may meet."""

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from tests.joiner.test_joiner import cases
from tests.oracles.join import OracleJoin
from tests.support.join_events import Event, feed_oracle


def test_the_breaker_opens_closes_and_matters_in_many_cases() -> None:
    """Otherwise the tests that draw them would say nothing of the breaker."""
    count: Counter[str] = Counter()

    @given(cases())
    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    def watch(case: tuple[OracleJoin, list[Event], list[int]]) -> None:
        oracle, events, _ = case
        without = replace(oracle, breaker_wait=0, labelled=[], late=[], rejected=[])
        held = False
        for event in events:
            feed_oracle(oracle, event)
            feed_oracle(without, event)
            held |= len(oracle.labelled) < len(without.labelled)
        count["cases"] += 1
        count["opened"] += oracle.openings > 0
        count["closed"] += oracle.closings > 0
        count["held"] += held
        count["changed"] += oracle.labelled != without.labelled

    watch()
    print(dict(count))
    assert count["cases"] >= 100
    assert count["opened"] > 0.2 * count["cases"]
    assert count["closed"] > 0.2 * count["cases"]
    assert count["held"] > 0.05 * count["cases"]
