"""Whether what the workers left behind is what the join by brute force gives.

Which blocks count is decided here by reading the whole log once: a block counts if its writer
made the last claim before it. The steps in their cuts say in which order the rows of the two logs
were taken; the oracle takes them in the same order.
"""

from collections import deque
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from msgspec import to_builtins

from joiner.core.ledger import Tally, ledger_of
from streams.deadletter import DeadLetter
from streams.labelled_log import Block, Claim, Cut
from streams.position import RowPosition
from streams.rules import RuleNumbers
from tests.oracles.join import OracleJoin
from tests.oracles.merge import merged
from tests.system.simulation.versions import NEWEST, oracle_keys, oracle_settings
from tests.system.simulation.workers import Learner, rows_of
from tests.system.simulation.world import Message, World

Row = dict[str, Any]
Letters = list[list[DeadLetter]]  # of each log


def check(world: World, learner: Learner) -> OracleJoin:
    """Raise AssertionError if an example is lost, repeated or wrong, or the ledger is."""
    blocks = counting_blocks(world.labelled)
    world.count("void blocks", void_blocks(world.labelled))
    assert [block.number for block, _ in blocks] == list(range(1, len(blocks) + 1))
    for (one, _), (after, _) in pairwise(blocks):
        if not one.complete and one.writer != after.writer:
            world.count("cuts finished by another")
    cuts = [block.cut for block, _ in blocks if block.cut is not None]
    published = [row for _, value in blocks for row in rows_of(value)]
    assert sum(block.rows for block, _ in blocks) == len(published)
    oracle, letters = replayed(world, cuts)
    assert published == [_plain(row) for row in oracle.labelled]
    assert learner.trained == published
    assert world.reported >= _reported(oracle, cuts, letters)
    assert world.late >= {
        ((row["src_offset"], row["src_row"]), row["impression_ts"]) for row in oracle.late
    }
    return oracle


def counting_blocks(labelled: list[Message]) -> list[tuple[Block, bytes]]:
    """The blocks that count and their examples, by reading all of the labelled log."""
    writer, blocks = None, []
    for offset, one in enumerate(labelled):
        message = one.entry(offset).header
        if isinstance(message, Claim):
            writer = message.writer
        elif isinstance(message, Block) and message.writer == writer:
            blocks.append((message, one.value))
    return blocks


def void_blocks(labelled: list[Message]) -> int:
    """How many blocks do not count."""
    every = sum(isinstance(one.entry(0).header, Block) for one in labelled)
    return every - len(counting_blocks(labelled))


def replayed(world: World, cuts: list[Cut]) -> tuple[OracleJoin, Letters]:
    """The oracle after all rows up to the last cut, and each log's bad rows."""
    oracle = OracleJoin(window=1, lateness=0, types=world.schema.click_types)
    left = [deque(log.rows()) for log in world.inputs]
    newest = [-1, -1]
    letters = [list(log.letters) for log in world.inputs]
    for cut in cuts:
        rules = RuleNumbers.of(cut.joiner, NEWEST)
        changes = oracle_settings(cut.joiner, rules)
        if any(getattr(oracle, name) != value for name, value in changes.items()):
            oracle.reconfigure(**changes)
        for stop in cut.steps:
            taken: list[list[Row]] = []
            for log, end in zip(left, (stop.impressions, stop.clicks), strict=True):
                taken.append([])
                while log and (log[0]["src_offset"], log[0]["src_row"]) <= end:
                    taken[-1].append(log.popleft())
            for source, source_log in enumerate(world.inputs):
                taken[source], refused = source_log.judged(taken[source], rules)
                letters[source] += refused
            keys = []
            for source, rows in enumerate(taken):
                clocks = [row["clock"] for row in rows]
                keys.append(list(accumulate(clocks, max, initial=newest[source]))[1:])
                newest[source] = max([newest[source], *clocks])
            keys = oracle_keys(keys, rules)
            _feed(oracle, taken, keys, world, stop.idle)
        _agree(oracle, cut, world, letters)
    return oracle, letters


def _feed(
    oracle: OracleJoin, taken: list[list[Row]], keys: list[list[int]], world: World, idle: int
) -> None:
    """Give the oracle the rows of a step, merged by their logs' running maxima of time.

    idle: the logs (1 the impressions, 2 the clicks) that held nothing back during all of it, also
    (4) while the breaker was open.
    """
    _lift(oracle, idle)
    for event, index in merged(keys[0], keys[1]):
        if event == "impression":
            oracle.impression(taken[0][index])
        elif event == "click":
            row = taken[1][index]
            oracle.click(row | {"type": world.schema.click_types[row["type"]]})
        _lift(oracle, idle)


def _lift(oracle: OracleJoin, idle: int) -> None:
    for bit, source in ((1, "impressions"), (2, "clicks")):
        if idle & bit:
            oracle.advance_idle(source, even_if_open=bool(idle & 4))


def _agree(oracle: OracleJoin, cut: Cut, world: World, letters: Letters) -> None:
    """The cut's counts are the oracle's and those of the bad rows up to it."""
    tally = Tally(*(np.array(part) for part in cut.joiner["tally"]))
    types = world.schema.click_types
    ledger = ledger_of(tally, cut.joiner["open"], types)
    assert ledger.balances()
    expected = oracle.ledger()
    found: Row = to_builtins(ledger)  # which is many times as fast as `asdict`
    none = dict.fromkeys(found["clicks"][""], 0)
    expected["clicks"] = {kind: none | expected["clicks"].get(kind, {}) for kind in (*types, "")}
    ends = cut.end.impressions, cut.end.clicks
    for bad, end in zip(letters, ends, strict=True):
        for one in bad:
            if one.position <= end and one.source == "impressions":
                expected["impressions"] += 1
                expected["rejected"] += 1
            elif one.position <= end:
                expected["clicks"][one.click_type or ""]["read"] += 1
                expected["clicks"][one.click_type or ""]["rejected"] += 1
    assert found == expected


def _plain(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "clock"}


def _reported(
    oracle: OracleJoin, cuts: list[Cut], letters: Letters
) -> set[tuple[str, RowPosition, str]]:
    """What must be among the dead letters: the oracle's, and every bad row."""
    found = {
        (row["source"], (row["src_offset"], row["src_row"]), row["reason"])
        for row in oracle.rejected
    }
    ends = (cuts[-1].end.impressions, cuts[-1].end.clicks) if cuts else ((-1, -1), (-1, -1))
    for bad, end in zip(letters, ends, strict=True):
        found |= {(one.source, one.position, one.reason) for one in bad if one.position <= end}
    return found
