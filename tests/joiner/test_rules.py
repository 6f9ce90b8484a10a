"""Workers are upgraded to versions with other rules: what was joined before stays as it was."""

from collections import Counter, deque
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from joiner.protocol.config import PartitionConfig
from streams.errors import DataError
from streams.labelled_log import Block
from streams.rules import FIRST, TODAY, RuleNumbers
from tests.system.simulation.check import counting_blocks
from tests.system.simulation.schedule import Schedule
from tests.system.simulation.versions import NEWEST, REFUSES, VERSIONS, register
from tests.system.simulation.workers import JoinWorker
from tests.system.simulation.world import World, new_world, settings

SCHEDULES = 100


@pytest.fixture(autouse=True)
def later_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


class Upgrades(Schedule):
    """A schedule in which now and then all workers end, and those after have a later version."""

    version = 0

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        for log in self.world.inputs:
            log.refuses = dict(REFUSES)

    def _new_setup(self) -> PartitionConfig:
        return replace(super()._new_setup(), rules=VERSIONS[self.version])

    def _crash(self) -> None:
        super()._crash()
        if self.random.random() < 0.4:
            self._change_settings()

    def _change_settings(self) -> None:
        if self.version + 1 < len(VERSIONS):
            self.version += 1
            for worker in self.workers:
                worker.crash(lost=True)
        super()._change_settings()


def test_no_upgrade_ends_a_deployment_or_changes_what_was_joined() -> None:
    """Every row, count and letter is the oracle's, which goes by the rules that each cut names."""
    named = Counter[RuleNumbers]()
    several = 0
    for seed in range(SCHEDULES):
        world = Upgrades(seed).run()
        rules = [rules_of(block) for block, _ in counting_blocks(world.labelled) if block.cut]
        assert rules == sorted(rules, key=VERSIONS.index)
        named.update(rules)
        several += len(set(rules)) > 1
    assert set(named) == set(VERSIONS)
    assert several > SCHEDULES / 10


def nothing_was_read(*_: Any) -> Any:
    return deque()


@pytest.mark.parametrize("what", ["input_logs.eras_of", "recovery.Recovery._reconfigure"])
def test_without_the_rules_of_then_some_upgrade_ends_a_deployment(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"joiner.protocol.{what}", nothing_was_read)
    with pytest.raises((DataError, AssertionError)):
        deque((Upgrades(seed).run() for seed in range(SCHEDULES)), maxlen=0)


def rules_of(block: Block) -> RuleNumbers:
    assert block.cut is not None
    return RuleNumbers.of(block.cut.joiner, NEWEST)


def world_of(seed: int) -> tuple[World, PartitionConfig]:
    """Two logs of which nothing is there yet, and settings."""
    random = Random(seed)
    world = new_world(random, 60)
    join, sampling = settings(random, world.schema.click_types)
    return world, PartitionConfig(world.schema, join, sampling, cut_rows=7)


def work(world: World, setup: PartitionConfig, name: str, share: float) -> JoinWorker:
    """A worker joins a share of both logs, and ends with nothing on the wire."""
    for log in world.inputs:
        log.end = max(log.end, int(share * log.messages))
    worker = JoinWorker(world, setup, name)
    for _ in range(60):
        while worker.wire:
            worker.land()
        while worker.landed:
            worker.acknowledge()
        while worker.asked:
            worker.answer()
        worker.read(0, 9)
        worker.read(1, 9)
        worker.advance((False, False), flush=False)
    worker.crash(lost=True)
    return worker


def test_the_first_rules_are_not_written() -> None:
    """So that cuts and checkpoints have the bytes of those of 0.1, which name none."""
    assert FIRST.to_json() == {}
    assert RuleNumbers.of({}, TODAY) == FIRST
    newer = RuleNumbers(close=2, defaults=3)
    assert newer.to_json() == {"rules": {"close": 2, "defaults": 3}}
    assert RuleNumbers.of(newer.to_json(), newer) == newer
    world, setup = world_of(1)
    work(world, setup, "first", 1.0)
    cuts = [block.cut for block, _ in counting_blocks(world.labelled) if block.cut]
    assert cuts
    assert not any("rules" in cut.joiner for cut in cuts)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (RuleNumbers(close=9), "made by rule close 9, this program knows up to 2; use the program"),
        (RuleNumbers(defaults=2), "made by rule defaults 2, this program knows up to 1; use the"),
    ],
)
def test_a_cut_of_a_newer_program_is_refused(rules: RuleNumbers, says: str) -> None:
    world, setup = world_of(1)
    work(world, setup, "first", 0.5)
    for message in world.labelled:
        message.header = message.header.replace(
            b'"joiner":{', b'"joiner":{"rules":{"' + _json(rules) + b"},"
        )
    with pytest.raises(DataError, match=says):
        work(world, replace(setup, rules=NEWEST), "second", 1.0)


def _json(rules: RuleNumbers) -> bytes:
    ((name, number),) = rules.to_json()["rules"].items()
    return f'{name}":{number}'.encode()


def test_a_rule_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="rule forget 2, this program knows no such rule; use"):
        RuleNumbers.of({"rules": {"forget": 2}}, TODAY)


def test_a_log_goes_on_by_the_defaults_it_began_with() -> None:
    """Under a program with other defaults; a log that begins there goes by the new ones."""
    world, old = world_of(3)
    join, sampling = settings(Random(8), world.schema.click_types)
    asked: list[int] = []

    def older(number: int) -> tuple[object, object]:
        asked.append(number)
        return old.join, old.sampling

    new = replace(
        old,
        join=join,
        sampling=sampling,
        rules=RuleNumbers(close=2, defaults=3),
        older=older,  # type: ignore[arg-type] # the settings of `old`
    )
    work(world, old, "first", 0.5)
    last = work(world, new, "second", 0.8)
    assert last.machine.join == old.join
    work(world, new, "third", 1.0)
    cuts = [block.cut for block, _ in counting_blocks(world.labelled) if block.cut]
    assert {str(cut.joiner["join"]) for cut in cuts} == {str(old.join.model_dump(mode="json"))}
    assert [cut.joiner.get("rules") for cut in cuts][:: len(cuts) - 1] == [None, {"close": 2}]
    assert set(asked) == {1}
    fresh, _ = world_of(3)
    machine = work(fresh, new, "first", 1.0).machine
    assert machine.join == join
    cuts = [block.cut for block, _ in counting_blocks(fresh.labelled) if block.cut]
    assert cuts[-1].joiner["rules"] == {"close": 2, "defaults": 3}
