"""The joiner against the join by brute force."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joiner import Joiner, JoinState, Ledger
from joiner.core import early_clicks as early_clicks_module
from joiner.core import step_input as steps_module
from joiner.core.kernel_types import SIZES, Sizes
from joiner.core.ledger import DelayHistogram
from streams.compute.arrays import U64
from streams.compute.murmur3 import hash128
from streams.deadletter import DeadLetter
from tests.oracles.join import OracleJoin
from tests.support.join_events import (
    Event,
    Gathered,
    click,
    end,
    feed_oracle,
    impression,
    plain_ledger,
    run,
    settings_of,
    step,
)
from tests.support.tiers import tries

pytestmark = pytest.mark.kernel

TYPES = ("click", "long_click", "hide")
EXAMPLES = settings(
    max_examples=tries(80),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["roomy", "tight"])
def sizes(request: pytest.FixtureRequest) -> Sizes:
    """Sizes as they are, and so small that a few events grow, wrap and rehash."""
    return Sizes(ring=2, early=2, batch=4) if request.param == "tight" else SIZES


@st.composite
def oracles(draw: st.DrawFn) -> OracleJoin:
    """A join with settings of a few milliseconds, nothing seen yet."""
    return OracleJoin(
        window=draw(st.integers(1, 30)),
        lateness=draw(st.integers(0, 8)),
        horizon=draw(st.sampled_from([0, 0, 3, 12, 40])),
        dedupe=draw(st.sampled_from([None, 0, 5, 60])),
        types=TYPES[: draw(st.integers(1, 3))],
        rate=draw(st.sampled_from([1.0, 0.5, 0.1])),
        seed=draw(st.integers(0, 2**64 - 1)),
        breaker_wait=draw(st.sampled_from([0, 10, 30, 60, 60])),
        breaker_clicks=draw(st.sampled_from([1.0, 1.5, 3.0])),
        breaker_absence=draw(st.sampled_from([1.0, 1.5, 4.0])),
        breaker_fraction=draw(st.sampled_from([0.0, 0.1, 0.4])),
    )


MOVES = st.tuples(
    st.sampled_from(["impressions", "clicks"]),
    st.integers(0, 5),  # whose
    st.sampled_from([0, 1, 1, 2, 5]),  # the clock moves on
    st.one_of(st.integers(-3, 3), st.integers(-25, 8)),  # the event's time beside it
    st.integers(0, 2),  # the click's type
)


@st.composite
def logs(draw: st.DrawFn, types: tuple[str, ...]) -> list[Event]:
    """An interleaving of two logs out of order, with repeated and unknown ids, perhaps ended."""
    moves = draw(st.lists(MOVES, min_size=30, max_size=80))
    ends = draw(st.dictionaries(st.sampled_from(["impressions", "clicks"]), st.integers(5, 90)))
    events: list[Event] = []
    now = 30
    for place, (source, who, advance, beside, kind) in enumerate(moves):
        events += [end(name) for name, at in ends.items() if at == place]
        now += advance
        if place >= ends.get(source, place + 1):
            continue
        if source == "clicks":
            events.append(click(f"i{who}", now + beside, types[kind % len(types)], place))
        else:
            events.append(impression(f"i{who}", now + beside, place))
    return events


@st.composite
def cases(draw: st.DrawFn) -> tuple[OracleJoin, list[Event], list[int]]:
    """A join, a log, and where to cut it."""
    oracle = draw(oracles())
    events = draw(logs(oracle.types))
    cuts = draw(st.lists(st.integers(0, 80), max_size=8))
    return oracle, events, cuts


def agree(joiner: Joiner, gathered: Gathered, oracle: OracleJoin) -> None:
    """Assert that both gave the same rows in the same order and count the same."""
    assert gathered.labelled == oracle.labelled
    assert gathered.late == oracle.late
    assert gathered.rejected == oracle.rejected
    assert plain_ledger(joiner) == oracle.ledger()
    breaker = joiner.breaker
    assert (breaker.open, breaker.openings) == (oracle.breaker_open, oracle.openings)
    assert breaker.rate == oracle.click_rate
    delays = joiner.delays
    assert delays.matched.tolist() == counted(oracle.matched_delays, delays)
    assert delays.late.tolist() == counted(oracle.late_delays, delays)


def counted(values: list[int], histogram: DelayHistogram) -> list[int]:
    """The values counted by bin, one by one."""
    counts = [0] * len(histogram.edges)
    for value in values:
        counts[sum(edge <= value for edge in histogram.edges.tolist()) - 1] += 1
    return counts


@given(cases())
@EXAMPLES
def test_equals_the_oracle_in_any_steps(
    sizes: Sizes, case: tuple[OracleJoin, list[Event], list[int]]
) -> None:
    oracle, events, cuts = case
    joiner = Joiner(*settings_of(oracle), sizes=sizes)
    gathered = run(joiner, events, cuts, oracle.types)
    for event in events:
        feed_oracle(oracle, event)
    agree(joiner, gathered, oracle)


@given(cases())
@EXAMPLES
def test_equals_the_oracle_after_every_event(
    sizes: Sizes,
    case: tuple[OracleJoin, list[Event], list[int]],
) -> None:
    oracle, events, _ = case
    joiner = Joiner(*settings_of(oracle), sizes=sizes)
    gathered = Gathered([], [], [])
    for event in events:
        gathered.add(joiner.process(*step([event], oracle.types)))
        feed_oracle(oracle, event)
        assert joiner.ledger.balances()
        assert joiner.open_impressions == joiner.ledger.open
        agree(joiner, gathered, oracle)


@given(cases(), st.integers(5, 40))
@EXAMPLES
def test_saved_and_restored_goes_on_exactly(
    sizes: Sizes, case: tuple[OracleJoin, list[Event], list[int]], at: int
) -> None:
    oracle, events, cuts = case
    first = Joiner(*settings_of(oracle), sizes=sizes)
    gathered = run(first, events[:at], cuts, oracle.types)
    second = Joiner.restore(*settings_of(oracle), through_bytes(first.state()), sizes=sizes)
    assert plain_ledger(second) == plain_ledger(first)
    assert second.watermarks == first.watermarks
    rest = run(second, events[at:], [c - at for c in cuts if c > at], oracle.types)
    for event in events:
        feed_oracle(oracle, event)
    both = Gathered(
        gathered.labelled + rest.labelled,
        gathered.late + rest.late,
        gathered.rejected + rest.rejected,
    )
    agree(second, both, oracle)


def through_bytes(state: JoinState) -> JoinState:
    """The state written to bytes and read again."""
    return JoinState(
        known=batch_through_bytes(state["known"]),
        rows=[batch_through_bytes(batch) for batch in state["rows"]],
        waiting=batch_through_bytes(state["waiting"]),
        metadata=json.loads(json.dumps(state["metadata"])),
    )


def batch_through_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch through the Arrow stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    with pa.ipc.open_stream(sink.getvalue()) as reader:
        return reader.read_next_batch()


@given(cases())
@EXAMPLES
def test_equals_the_oracle_when_hashes_crowd(
    sizes: Sizes,
    case: tuple[OracleJoin, list[Event], list[int]],
) -> None:
    oracle, events, cuts = case
    oracle = replace(oracle, rate=1.0)  # sampling would see the crowded hash
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps_module, "hash128", crowded)
        patch.setattr(early_clicks_module, "hash128", crowded)
        joiner = Joiner(*settings_of(oracle), sizes=sizes)
        gathered = run(joiner, events, cuts, oracle.types)
    for event in events:
        feed_oracle(oracle, event)
    agree(joiner, gathered, oracle)


def crowded(array: pa.Array, seed: int = 0) -> tuple[U64, U64]:
    """Hashes of distinct ids that differ in high bits of the high half alone."""
    _, high = hash128(array, seed)
    return np.full(len(array), 2**64 - 1, np.uint64), high & np.uint64(0xFFFFFFFF00000000)


@pytest.mark.parametrize("beyond", [0, 1])
class TestTheLastMillisecond:
    """Window 100, lateness 10, horizon 20, dedupe 50: each bound, and one millisecond beyond."""

    def ledger(self, *events: Event) -> Ledger:
        """The ledger after the events, one a step; the step's end must not matter."""
        joiner = joiner_of(horizon=20, dedupe=50)
        run(joiner, events, range(len(events)), ("click",))
        return joiner.ledger

    def until(self, watermark: int) -> tuple[Event, Event]:
        """Two events that bring the join's watermark to this time."""
        return impression("later", watermark + 10, 9), click("elsewhere", watermark + 10)

    def test_closes(self, beyond: int) -> None:
        ledger = self.ledger(impression("a", 1_000), *self.until(1_100 + beyond))
        assert ledger.negatives == beyond

    def test_comes_too_late(self, beyond: int) -> None:
        ledger = self.ledger(*self.until(1_100 + beyond), impression("a", 1_000))
        assert ledger.rejected == beyond

    def test_is_forgotten(self, beyond: int) -> None:
        ledger = self.ledger(
            impression("a", 1_000), *self.until(1_150 + beyond), impression("a", 1_140)
        )
        assert (ledger.duplicates, ledger.open) == (1 - beyond, 1 + beyond)

    def test_labels(self, beyond: int) -> None:
        clicks = self.ledger(impression("a", 1_000), click("a", 1_120 + beyond)).all_clicks
        assert (clicks.matched, clicks.late) == (1 - beyond, beyond)

    def test_corrects(self, beyond: int) -> None:
        ledger = self.ledger(impression("a", 1_000), *self.until(1_110), click("a", 1_120 + beyond))
        assert (ledger.corrections, ledger.all_clicks.late) == (1 - beyond, 1)

    def test_precedes(self, beyond: int) -> None:
        clicks = self.ledger(impression("a", 1_000), click("a", 990 - beyond)).all_clicks
        assert (clicks.matched, clicks.rejected) == (1 - beyond, beyond)

    def test_waits(self, beyond: int) -> None:
        clicks = self.ledger(click("a", 1_000), impression("b", 1_020 + beyond)).all_clicks
        assert (clicks.waiting, clicks.orphans) == (1 - beyond, beyond)


def test_a_state_does_not_change_afterwards() -> None:
    joiner = joiner_of()
    joiner.process(*step([impression("a", 1_000), click("b", 1_000)], ("click",)))
    state = joiner.state()
    before = (
        state["known"].to_pylist(),
        state["waiting"].to_pylist(),
        json.dumps(state["metadata"]),
    )
    joiner.process(*step([click("a", 1_001), impression("b", 1_001)], ("click",)))
    after = (
        state["known"].to_pylist(),
        state["waiting"].to_pylist(),
        json.dumps(state["metadata"]),
    )
    assert after == before


def test_a_new_impression_hides_a_forgotten_one_of_its_id(sizes: Sizes) -> None:
    """Also when the index is rebuilt while the forgotten one, behind the head, is in the ring."""
    oracle = OracleJoin(window=10, lateness=30, dedupe=60)
    events = [
        impression("a", 1_100, 1),
        impression("x", 1_080, 2),
        click("elsewhere", 1_100),
        impression("b", 1_190, 3),
        click("elsewhere", 1_195),  # the watermark is 1160: x is forgotten, a is not
        impression("x", 1_165, 4),
        *(impression(f"i{place}", 1_190, place) for place in range(5, 6_000)),
        click("x", 1_166),
        impression("x", 1_167, 6_001),
    ]
    joiner = Joiner(*settings_of(oracle), sizes=sizes)
    gathered = run(joiner, events, range(5, len(events), 50), oracle.types)
    for event in events:
        feed_oracle(oracle, event)
    agree(joiner, gathered, oracle)
    ledger = joiner.ledger
    assert (ledger.duplicates, ledger.clicks["click"].matched) == (1, 1)
    assert joiner.state()["known"].column("ts")[0].as_py() == 1_100


@pytest.mark.parametrize("horizon", [0, 3_000])
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_equals_the_oracle_on_a_long_log(sizes: Sizes, horizon: int, rate: float) -> None:
    """Long enough for the ring to wrap and the index to be made anew many times."""
    oracle = OracleJoin(2_000, 200, horizon, None, TYPES, rate, 7, 500, 1.0, 4.0)
    events = long_log(np.random.default_rng(5), 4_000)
    joiner = Joiner(*settings_of(oracle), sizes=sizes)
    cuts = list(range(0, len(events), 97))
    gathered = run(joiner, events, cuts, oracle.types)
    for event in events:
        feed_oracle(oracle, event)
    agree(joiner, gathered, oracle)
    assert oracle.openings > 3
    ledger = joiner.ledger
    assert ledger.open == 0
    assert ledger.all_clicks.waiting == 0
    assert min(ledger.positives, ledger.negatives, ledger.duplicates, ledger.rejected) > 0
    assert all(
        min(c.matched, c.duplicates, c.late, c.orphans) > 0
        for c in [ledger.clicks[t] for t in TYPES]
    )
    assert (ledger.corrections > 0) == (horizon > 0)
    assert (ledger.sampled_out > 0) == (rate < 1)


def long_log(rng: np.random.Generator, size: int) -> list[Event]:
    """A log with everything in it, then both ends."""
    timed: list[tuple[float, Event]] = []
    for place in range(size):
        ts = 10_000 + 20 * place
        name = f"i{place if rng.random() > 0.05 else max(0, place - int(rng.integers(400)))}"
        arrival = ts + float(rng.exponential(60))
        if rng.random() < 0.01:
            arrival += 6_000
        if rng.random() > 0.01:
            timed.append((arrival, impression(name, ts, place)))
        while rng.random() < 0.25:
            delay = int(rng.exponential(1_200)) - 120
            kind = TYPES[int(rng.integers(3))]
            arrival = ts + delay + float(rng.exponential(100))
            timed.append((arrival, click(name, ts + delay, kind, place)))
    timed.sort(key=lambda pair: pair[0])
    return [*(event for _, event in timed), end("clicks"), end("impressions")]


def joiner_of(**changes: Any) -> Joiner:
    """A joiner with a window of 100 ms and a lateness of 10 ms, unless changed."""
    return Joiner(*settings_of(OracleJoin(**{"window": 100, "lateness": 10, **changes})))


def test_batches_are_slices_of_what_was_read() -> None:
    joiner = joiner_of()
    events = [impression(f"i{k}", 1_000 + k, k) for k in range(2_000)]
    shown, clicked, order = step(events, ("click",))
    joiner.process(shown, clicked, order)
    output = joiner.process(*step([end("clicks"), end("impressions")], ("click",)))
    (batch,) = output.labelled
    for name in ("impression_id", "features.price"):
        assert batch.column(name).buffers()[-1].address == shown.column(name).buffers()[-1].address
    assert joiner.row_bytes == 0


def test_rows_are_kept_for_corrections_while_known() -> None:
    joiner = joiner_of(horizon=50)
    joiner.process(*step([impression("a", 1_000), click("other", 1_000)], ("click",)))
    joiner.process(*step([impression("b", 1_111), click("other", 1_111)], ("click",)))
    assert joiner.ledger.negatives == 1
    assert joiner.row_bytes > 0
    joiner.process(*step([impression("c", 9_000), click("other", 9_000)], ("click",)))
    assert joiner.ledger.negatives == 2
    assert joiner.state()["known"].num_rows == 1
    assert sum(batch.num_rows for batch in joiner.state()["rows"]) == 1


def test_rejects_of_the_edge_enter_the_ledger() -> None:
    joiner = joiner_of(types=TYPES)
    shown = [DeadLetter("impressions", "shown", row, 0, "bad_json", "") for row in range(3)]
    kinds = ["hide", "hide", None, None, None, None, "unheard of"]
    clicked = [
        DeadLetter("clicks", "clicked", row, 0, "bad_json", "", click_type=kind)
        for row, kind in enumerate(kinds)
    ]
    joiner.count_dead_letters(shown + clicked)
    ledger = joiner.ledger
    assert (ledger.impressions, ledger.rejected) == (3, 3)
    assert (ledger.clicks["hide"].read, ledger.clicks["hide"].rejected) == (2, 2)
    assert (ledger.clicks[""].read, ledger.clicks[""].rejected) == (5, 5)
    assert (ledger.all_clicks.read, ledger.all_clicks.rejected) == (7, 7)
    assert ledger.balances()


def test_a_ledger_that_does_not_balance_says_so() -> None:
    ledger = joiner_of().ledger
    assert ledger.balances()
    assert not replace(ledger, impressions=1).balances()
    unread = replace(ledger.clicks["click"], matched=1)
    assert not replace(ledger, clicks={"click": unread}).balances()
