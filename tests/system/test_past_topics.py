"""The topics of pipelines that earlier versions ran: a new owner and a learner go on to the byte.

Kept: impressions and clicks in JSON and in Arrow, a labelled topic with several writers, a void
block, idle logs and a cut that was published in part, rows that are open or known, and the store
of the learner (tests/fixtures). Without Kafka in the simulator, and on a real broker.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from streams.arrow_ipc import ARROW, decode
from tests import ROOT
from tests.fixtures import live, topics
from tests.fixtures.digests import state_parts
from tests.support.waiting import eventually
from tests.system.kafka.workers.child import Child
from tests.system.kafka.workers.learning import answer, state
from tests.system.simulation.world import SOURCES, Message

FIXTURES = ROOT / "tests" / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.glob("v*"))


@pytest.fixture(params=VERSIONS)
def kept(request: pytest.FixtureRequest) -> topics.Kept:
    return topics.Kept(FIXTURES / str(request.param) / topics.FOLDER)


def test_a_new_owner_and_the_learner_go_on_to_where_they_went(
    kept: topics.Kept, tmp_path: Path
) -> None:
    """Cuts, rows and reports; weights, state and versions, also of a learner that begins anew."""
    went_on = kept.went_on()
    expected = kept.expected
    learners = {name: expected.pop(name) for name in ("learner", "learner anew")}
    assert went_on.parts() == expected
    for name, parts in learners.items():
        place = tmp_path / name
        place.mkdir()
        assert kept.learned(went_on.labelled, place, anew=name.endswith("anew")) == parts
    assert learners["learner"]["weights"] == learners["learner anew"]["weights"]


def test_everything_is_on(kept: topics.Kept) -> None:
    """A part that never happens in a fixture is not kept by it."""
    world = kept.world()
    happened = topics.happened(world.labelled, world)
    assert happened["writers"] > 2
    assert happened["open"] > 50
    for what in ("claims", "void", "unfinished", "idle", "refused"):
        assert happened[what], what
    for source in SOURCES:
        for kind in (source, topics.REST.format(source)):
            arrow = [dict(one.headers).get("content-type") for one in kept.messages(kind)]
            assert {ARROW.encode(), None} <= set(arrow), kind
    reasons = {json.loads(one.value or b"")["reason"] for one in kept.messages("dead-letters")}
    assert reasons > {"too_late", "too_far_ahead", "orphan", "not_one_object"}
    assert kept.messages("late-clicks")


def test_workers_on_a_broker_go_on_to_where_they_went(
    kept: topics.Kept, kafka: str, tmp_path: Path
) -> None:
    """Every labelled row, the ledger, the model, and what is dead or late, from a loaded dump."""
    expected, simulated = kept.expected, kept.went_on().world
    learner = kept.learner(tmp_path)
    learned = learner.following[0]
    learner.die()
    assert learned > 10
    names = live.load(kept, kafka)
    join, learn = live.workers(kept, kafka, tmp_path)

    def messages() -> list[Message]:
        assert join.process.poll() is None, join.said
        return [topics.labelled(one) for one in live.everything(kafka, names, "labelled")]

    try:
        eventually(lambda: topics.counted(messages())["ledger"] == expected["ledger"], 60)
        eventually(lambda: taken(learn) == len(messages()) - learned, 60)
        for worker in (join, learn):
            worker.stop()
    finally:
        join.kill()
        learn.kill()
    found = [topics.labelled(one) for one in live.everything(kafka, names, "labelled")]
    assert topics.counted(found) == {name: expected[name] for name in ("every row", "ledger")}
    parts = state_parts(state(tmp_path / topics.STORE))
    for name in ("weights", "features", "versions"):
        assert parts[name] == expected["learner"][name], name
    dead = live.everything(kafka, names, "dead-letters")
    assert letters(dead) == letters(kept.messages("dead-letters")) | simulated.reported
    late = live.everything(kafka, names, "late-clicks")
    before = late_places(kept.messages("late-clicks"))
    assert late_places(late) == before | {place for place, _ in simulated.late}


def taken(learn: Child) -> int:
    """How many messages a learn worker has taken."""
    assert learn.process.poll() is None, learn.said
    at = re.search(r"http://(\S+)", learn.said)
    text = "" if at is None else answer(f"http://{at[1]}/metrics")[1]
    counts = re.findall(r"^clickloop_learn_messages_total\{.*\} (\S+)$", text, re.MULTILINE)
    return int(sum(map(float, counts)))


def letters(messages: list[Any]) -> set[Any]:
    """Source, place and reason of each dead letter."""
    found = [json.loads(one.value or b"") for one in messages]
    return {(one["source"], (one["src_offset"], one["src_row"]), one["reason"]) for one in found}


def late_places(messages: list[Any]) -> set[tuple[int, int]]:
    """The places of late clicks."""
    batches = [batch for one in messages for batch in decode(one.value, "the fixture")]
    rows = [row for batch in batches for row in batch.to_pylist()]
    return {(row["src_offset"], row["src_row"]) for row in rows}
