"""What the joiner refuses: events out of order or of another schema, states of other settings."""

from dataclasses import replace

import numpy as np
import pytest

from joiner import Joiner, JoinState
from tests.joiner.test_joiner import TYPES, joiner_of
from tests.oracles.join import OracleJoin
from tests.support.join_events import Event, click, end, impression, settings_of, step

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("events", "order", "message"),
    [
        ([impression("a", 1)], [1], "names 0 impressions, not 1"),
        ([click("a", 1)], [1, 1], "names 2 clicks, not 1"),
        ([], [10], "code 10"),
        ([impression("a", 1)], [2, 0], "names impressions after their end"),
        ([], [3, 3], "clicks had ended already"),
    ],
)
def test_an_order_that_does_not_fit_is_refused(
    events: list[Event], order: list[int], message: str
) -> None:
    joiner = joiner_of()
    shown, clicked, _ = step(events, ("click",))
    with pytest.raises(ValueError, match=message):
        joiner.process(shown, clicked, np.array(order, np.uint8))
    assert joiner.ledger == joiner_of().ledger


def test_rows_after_an_end_are_refused() -> None:
    joiner = joiner_of()
    joiner.process(*step([end("clicks")], ("click",)))
    with pytest.raises(ValueError, match="the clicks had ended already"):
        joiner.process(*step([click("a", 1)], ("click",)))


def test_a_batch_of_another_schema_is_refused() -> None:
    joiner = joiner_of()
    shown, clicked, order = step([impression("a", 1)], ("click",))
    with pytest.raises(ValueError, match="schema"):
        joiner.process(shown.drop_columns(["weight"]), clicked, order)


def test_an_undeclared_click_type_is_refused() -> None:
    joiner = joiner_of()
    shown, clicked, order = step([click("a", 1, "hide")], TYPES)
    with pytest.raises(ValueError, match="2 to 2"):
        joiner.process(shown, clicked, order)


def test_a_state_of_other_settings_or_version_is_refused() -> None:
    oracle = OracleJoin(100, 10)
    state = Joiner(*settings_of(oracle)).state()
    with pytest.raises(ValueError, match="saved with"):
        Joiner.restore(*settings_of(replace(oracle, window=200)), state)
    other = JoinState({**state, "metadata": {**state["metadata"], "version": 99}})
    with pytest.raises(ValueError, match="version 99"):
        Joiner.restore(*settings_of(oracle), other)


def test_schema_and_settings_must_declare_the_same_types() -> None:
    schema, join, sampling = settings_of(OracleJoin(100, 10, types=TYPES))
    with pytest.raises(ValueError, match="click types"):
        Joiner(replace(schema, click_types=("click",)), join, sampling)
