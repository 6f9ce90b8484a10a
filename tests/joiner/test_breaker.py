"""The breaker told in scenarios: steady traffic whose click log falters, and what is taught then.

An impression a second, every second one clicked 5 s later, so one click in two seconds; the
window is 300 s. Times are in seconds.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from joiner import Joiner, JoinSettings
from joiner.core.breaker import (
    CLICKED,
    QUIET,
    RATE,
    SEEN,
    SHOWN,
    BreakerState,
    breaker_settings,
    breaker_state,
    count_click,
    due,
    judge,
    new_breaker,
)
from tests.oracles.join import OracleJoin
from tests.support.join_events import (
    Event,
    Gathered,
    click,
    end,
    feed_oracle,
    impression,
    pieces,
    run,
    settings_of,
    step,
)

pytestmark = pytest.mark.kernel

TYPES = ("click", "hide")
WINDOW, WAIT = 300, 1_800
STALL, RESUME, LAST = 1_000, 2_000, 3_600  # the outage, and the last impression

Arrivals = list[tuple[float, Event]]
Fault = Callable[[int], float]
"""When the click of the impression shown at this second arrives."""


def prompt(shown: int) -> float:
    """No fault."""
    return shown + 5.0


def silent(shown: int) -> float:
    """From STALL on no click comes; at RESUME they all do, 20 a second, in their order."""
    if not STALL <= shown + 5 < RESUME:
        return shown + 5.0
    return RESUME + (shown + 5 - STALL) / 40


def trickling(shown: int) -> float:
    """The same, but one click in thirty comes in time."""
    return shown + 5.0 if shown % 60 == 0 else silent(shown)


def gone(shown: int) -> float:
    """From STALL on no click comes, ever."""
    return shown + 5.0 if shown + 5 < STALL else float("inf")


def arrivals(fault: Fault, last: int = LAST, *, hides: bool = True) -> list[Event]:
    """The events in the order they arrive, without ends. Hides come always, so that the click
    log's watermark moves on."""
    timed: Arrivals = []
    for second in range(last):
        timed.append((second, impression(f"i{second}", second * 1_000, second)))
        if second % 2 == 0:
            timed.append((fault(second), click(f"i{second}", (second + 5) * 1_000)))
        if hides and second % 10 == 1:
            timed.append((second + 1.0, click(f"i{second}", (second + 1) * 1_000, "hide")))
    timed = [pair for pair in timed if pair[0] <= last]
    return [event for _, event in sorted(timed, key=lambda pair: pair[0])]


def joiner_of(wait: int = WAIT, **changes: Any) -> Joiner:
    """A joiner with the default breaker, but for how long it waits (seconds)."""
    schema, join, sampling = settings_of(OracleJoin(WINDOW * 1_000, 10_000, types=TYPES))
    join = JoinSettings(**(dict(join) | {"breaker_wait": wait * 1_000} | changes))
    return Joiner(schema, join, sampling)


def false_negatives(gathered: Gathered) -> list[int]:
    """The seconds of the impressions that had a click and were taught as negatives."""
    shown = [row["src_row"] for row in gathered.labelled if not row["label"]]
    return [second for second in shown if second % 2 == 0]


def history(joiner: Joiner, events: list[Event]) -> Iterator[tuple[Event, BreakerState, int]]:
    """Every tenth event, the breaker after it, and how many impressions are decided then."""
    for piece in pieces(events, range(0, len(events), 10)):
        if piece:
            joiner.process(*step(piece, TYPES))
            yield piece[-1], joiner.breaker, joiner.ledger.positives + joiner.ledger.negatives


@pytest.mark.parametrize("fault", [silent, trickling])
def test_an_outage_teaches_no_false_negatives(fault: Fault) -> None:
    events = [*arrivals(fault), end("clicks"), end("impressions")]
    joiner, bare = joiner_of(), joiner_of(wait=0)
    gathered, without = (run(one, events, range(0, 5_000, 700), TYPES) for one in (joiner, bare))
    assert len(gathered.labelled) == len(without.labelled) == LAST
    missed = false_negatives(gathered)
    assert missed == [s for s in missed if s > LAST - 5]  # clicked after the end
    assert joiner.ledger.all_clicks.late == 0
    assert joiner.ledger.all_clicks.orphans == 0
    assert joiner.breaker.openings == 1
    assert len(false_negatives(without)) > 300
    clicks = bare.ledger.all_clicks
    assert clicks.late + clicks.orphans > 300  # after twice the window they find nothing
    assert bare.breaker == BreakerState(False, joiner.breaker.rate, 0)


def test_a_click_of_a_wrong_clock_closes_no_windows_before_the_clicks_behind_it() -> None:
    """Logs merged by time: the click log waits at the wrong one, then comes all at once."""
    events = arrivals(silent, hides=False)
    at = next(k for k, e in enumerate(events) if e.row["ts"] == RESUME * 1_000)
    events.insert(at + 1, click("elsewhere", RESUME * 1_000))
    events += [end("clicks"), end("impressions")]
    missed = [false_negatives(run(joiner_of(w), events, [], TYPES)) for w in (WAIT, 0)]
    assert missed[0] == [s for s in missed[0] if s > LAST - 5]
    assert len(missed[1]) > 300


@pytest.mark.parametrize(("fault", "within"), [(silent, 60), (trickling, 220)])
def test_it_opens_soon_and_closes_after_the_backlog(fault: Fault, within: int) -> None:
    turns = []
    was_open = False
    for event, breaker, _ in history(joiner_of(), arrivals(fault)):
        if breaker.open != was_open:
            turns.append(event.row["ts"] / 1_000)
            was_open = breaker.open
    opened_at, closed_at = turns
    assert STALL < opened_at < STALL + within
    # The last click of the backlog arrives at RESUME + 25; half a sample in time takes 50 s.
    assert RESUME + 25 < closed_at < RESUME + 25 + 160


def test_steady_traffic_never_opens_it() -> None:
    joiner = joiner_of()
    run(joiner, arrivals(prompt), [], TYPES)
    assert joiner.breaker.rate == pytest.approx(0.5, abs=0.002)
    assert joiner.breaker.openings == 0


def test_a_log_that_never_comes_back_holds_emission_up_to_the_bound() -> None:
    """Each impression that is held leaves W + wait after it, no later."""
    waited: list[float] = []
    decided = 0
    for event, breaker, now in history(joiner_of(), arrivals(gone, last=4_000)):
        # The watermark is 10 to 20 s behind, for a hide comes every 10 s.
        clock = event.row["ts"] / 1_000 - 10
        if breaker.open:
            waited += [clock - second for second in range(decided, now)]
        decided = now
    assert breaker.open
    assert decided == pytest.approx(4_000 - 10 - WINDOW - WAIT, abs=12)
    late = [wait for wait in waited if wait > WINDOW + 20]
    assert len(late) > 1_000
    assert WINDOW + WAIT < min(late) <= max(late) <= WINDOW + WAIT + 20


def test_a_log_that_has_ended_holds_nothing_back() -> None:
    events = arrivals(gone, last=1_500)
    joiner = joiner_of()
    run(joiner, events, [], TYPES)
    assert joiner.breaker.open
    held = joiner.ledger.open
    joiner.process(*step([end("clicks")], TYPES))
    assert not joiner.breaker.open
    assert joiner.ledger.open == WINDOW + 11 < held
    later = [impression(f"i{second}", second * 1_000, second) for second in range(1_500, 4_000)]
    joiner.process(*step(later, TYPES))
    assert joiner.ledger.open == WINDOW + 11
    assert not joiner.breaker.open


def test_it_goes_on_waiting_for_clicks_after_the_impressions_end() -> None:
    joiner = joiner_of()
    events = arrivals(silent)
    cut = next(k for k, e in enumerate(events) if e.row["ts"] == 1_900_000)
    run(joiner, [*events[:cut], end("impressions")], [], TYPES)
    assert joiner.breaker.open
    assert joiner.ledger.negatives <= 500 + 1
    clicks = [e for e in events[cut:] if e.source == "clicks" and e.row["ts"] < 1_900_000]
    run(joiner, [*clicks, end("clicks")], [], TYPES)
    assert joiner.ledger.all_clicks.late == 0
    assert joiner.ledger.open == 0


def test_an_impression_that_comes_when_its_window_is_over_is_still_refused() -> None:
    joiner = joiner_of()
    events = arrivals(gone, last=1_500)
    run(joiner, [*events, impression("stale", 1_000_000)], [], TYPES)
    assert joiner.breaker.open
    assert joiner.ledger.rejected == 1


def test_corrections_and_the_breaker_agree_with_the_oracle() -> None:
    oracle = OracleJoin(
        WINDOW * 1_000, 10_000, horizon=600_000, types=TYPES, rate=0.3, breaker_wait=300_000
    )
    events = [*arrivals(trickling), end("clicks"), end("impressions")]
    joiner = Joiner(*settings_of(oracle))
    gathered = run(joiner, events, range(0, 5_000, 333), TYPES)
    for event in events:
        feed_oracle(oracle, event)
    assert gathered.labelled == oracle.labelled
    assert oracle.openings == joiner.breaker.openings == 1
    assert joiner.ledger.corrections > 0


class Watched:
    """A breaker fed by hand; `clicked` of `shown` impressions are its history."""

    def __init__(self, shown: float = 0, clicked: float = 0, **settings: Any) -> None:
        self.rules = breaker_settings(JoinSettings(**settings))
        self.state = new_breaker()
        if shown:
            self.state[[SHOWN, CLICKED, RATE]] = shown, clicked, clicked / shown
        self.due = due(self.state, self.rules)

    @property
    def open(self) -> bool:
        return breaker_state(self.state).open

    def impressions(self, count: int) -> None:
        """So many, with no click between them."""
        while count:
            quiet = min(count, self.due - int(self.state[QUIET]))
            count -= quiet
            self.state[QUIET] += quiet
            if self.state[QUIET] == self.due:
                self.due = judge(self.state, self.rules, int(self.state[QUIET]))
                self.state[QUIET] = 0

    def click(self) -> None:
        """One that is in time."""
        self.due = count_click(self.state, self.rules, int(self.state[QUIET]))
        self.state[QUIET] = 0


def test_nothing_is_judged_before_a_sample_of_clicks() -> None:
    breaker = Watched(1_000, 49)
    breaker.impressions(10**9)
    assert not breaker.open
    breaker = Watched(1_000, 49)
    breaker.click()
    breaker.impressions(10**9)
    assert breaker.open


def test_it_opens_at_twenty_expected_clicks_without_one() -> None:
    breaker = Watched(1_000, 100)
    breaker.impressions(199)
    assert not breaker.open
    breaker.impressions(1)
    assert breaker.open
    assert breaker_state(breaker.state).openings == 1


@pytest.mark.parametrize(("clicks", "opens"), [(5, True), (6, False)])
def test_it_opens_when_a_sample_holds_less_than_a_tenth(clicks: int, opens: bool) -> None:
    """A sample ends with the impression that fills it, so it expects a little more than 50."""
    breaker = Watched(1e9, 1e8)  # a rate that these hardly change
    for _ in range(clicks):
        breaker.impressions(80)
        breaker.click()
    breaker.impressions(499 - 80 * clicks)
    assert not breaker.open
    breaker.impressions(2)
    assert breaker.open == opens
    assert breaker.state[SEEN] == 0  # the next sample begins


def test_half_a_sample_in_time_closes_it() -> None:
    breaker = Watched(1e9, 1e8)
    breaker.impressions(200)
    for clicks in range(24):  # none of these samples has enough
        for _ in range(clicks):
            breaker.click()
        breaker.impressions(501)
        assert breaker.open
    for _ in range(24):
        breaker.click()
    assert breaker.open
    breaker.click()
    assert not breaker.open
    assert breaker_state(breaker.state).openings == 1


def test_without_a_wait_nothing_is_judged() -> None:
    breaker = Watched(1_000, 100, breaker_wait=0)
    breaker.impressions(10**9)
    assert not breaker.open
    breaker.click()
    assert breaker_state(breaker.state).rate == pytest.approx(101 / (10**9 + 1_000))


def test_clicks_before_any_impression_are_no_rate() -> None:
    breaker = Watched()
    for _ in range(100):
        breaker.click()
    assert breaker_state(breaker.state) == BreakerState(False, 0.0, 0)


def test_the_long_run_rate_forgets_by_halves() -> None:
    breaker = Watched(1e6, 19_999)
    breaker.click()
    assert breaker.state[[SHOWN, CLICKED]].tolist() == [500_000, 10_000]
    assert breaker_state(breaker.state).rate == 0.02


def test_the_rate_adapts_to_a_lasting_fall() -> None:
    """From 10% to 0.5%: it opens, and closes for good once the long run is half as low."""
    breaker = Watched(20_000, 2_000)
    opened = False
    for gap in np.random.default_rng(11).geometric(0.005, 4_000).tolist():
        breaker.impressions(gap)
        breaker.click()
        opened |= breaker.open
    assert opened
    assert not breaker.open
    assert breaker_state(breaker.state).rate < 0.01


@pytest.mark.parametrize("rate", [0.0005, 0.02, 0.5])
def test_chance_does_not_open_it(rate: float) -> None:
    breaker = Watched()
    for gap in np.random.default_rng(12).geometric(rate, 30_000).tolist():
        breaker.impressions(gap - 1)
        breaker.click()
        breaker.impressions(1)
    reached = breaker_state(breaker.state)
    assert (reached.open, reached.openings) == (False, 0)
    assert reached.rate == pytest.approx(rate, rel=0.05)
