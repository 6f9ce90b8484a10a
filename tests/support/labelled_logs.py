"""Labelled logs as the joiner writes them: the real state machine over small logs, in memory.

Writers die with messages on the wire that arrive when another has claimed the partition: the log
has void blocks, and claims in its middle.
"""

import zlib
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from deploy.settings import Settings
from joiner.protocol.config import PartitionConfig
from streams.compute.arrays import I64
from streams.deadletter import Source
from streams.files.logs import open_log
from tests.support.small_logs import SmallLogs
from tests.system.simulation.check import counting_blocks
from tests.system.simulation.workers import JoinWorker, rows_of
from tests.system.simulation.world import InputLog, Message, World

DEATHS = 3  # of writers, one after another
SILENT_TURNS = 20  # before a death, in which nothing it sends arrives
MOST_TURNS = 10_000


@dataclass(frozen=True)
class LabelledLog:
    """A partition of the labelled topic, and the examples in it that count, in their order."""

    messages: list[Message]
    examples: list[dict[str, Any]]
    void_rows: int

    def audit(self, partition: int) -> list[list[Any]]:
        """What the test's learner notes of each example."""
        columns = ("src_offset", "src_row", "kind", "label", "impression_id")
        return [[partition, *(row[name] for name in columns)] for row in self.examples]


def labelled_logs(
    settings: Settings,
    logs: SmallLogs,
    partitions: int,
    seed: int = 3,
    *,
    later: Settings | None = None,
    turns: int = 60,
) -> list[LabelledLog]:
    """The labelled topic of `logs`, whose events went to partitions by their ids.

    later: of the writers after the first two. turns: after so many a writer dies.
    """
    eras = [settings, settings, *[later or settings] * (DEATHS - 1)]
    return [
        _labelled(eras, logs, p, partitions, Random(seed + p), turns) for p in range(partitions)
    ]


def _labelled(
    eras: list[Settings],
    logs: SmallLogs,
    partition: int,
    partitions: int,
    random: Random,
    turns: int,
) -> LabelledLog:
    world: World | None = None
    dead: list[JoinWorker] = []
    for number, values in enumerate(eras):
        if world is None or values is not eras[number - 1]:
            inputs = (
                _input(values, "impressions", logs.impressions, partition, partitions),
                _input(values, "clicks", logs.clicks, partition, partitions),
            )
            world = World(random, values.events, inputs) if world is None else world
            world.inputs = inputs
        setup = PartitionConfig(
            values.events, values.join, values.sampling, max_message_bytes=9000, cut_rows=40
        )
        worker = JoinWorker(world, setup, f"writer {number}")
        _work(worker, random, dead, die_after=turns if number < DEATHS else None)
        dead.append(worker)
    assert world is not None
    blocks = counting_blocks(world.labelled)
    examples = [row for _, value in blocks for row in rows_of(value)]
    all_rows = sum(len(rows_of(each.value)) for each in world.labelled)
    return LabelledLog(world.labelled, examples, all_rows - len(examples))


def _work(
    worker: JoinWorker, random: Random, dead: list[JoinWorker], die_after: int | None
) -> None:
    """Join to the logs' ends, or die; what the dead have sent arrives meanwhile."""
    world, flushed = worker.world, False
    for turn in range(MOST_TURNS):
        if turn == die_after:
            worker.crash(lost=False)
            return
        for other in dead:
            if worker.claim is not None and other.wire:
                other.land()
        dying = die_after is not None and turn > die_after - SILENT_TURNS
        if worker.wire and random.random() < 0.8 and not dying:
            worker.land()
        while worker.landed and worker.alive:
            worker.acknowledge()
        while worker.asked and worker.alive:
            worker.answer()
        worker.read(0, random.randint(1, 60))
        worker.read(1, random.randint(1, 15))
        ends = worker.at is not None and all(
            at >= log.end for at, log in zip(worker.at, world.inputs, strict=True)
        )
        worker.advance((ends, ends), flush=ends and not flushed)
        flushed = flushed or (ends and worker.machine.phase == "live")
        if flushed and not worker.wire and not worker.machine.is_behind:
            return
    raise AssertionError("the logs did not come to their ends")


def _input(
    settings: Settings, source: Source, path: Any, partition: int, partitions: int
) -> InputLog:
    """A line of the log is a message; those that are refused are partition 0's."""
    chunks = list(open_log(str(path), settings.events, source))
    rows = pa.Table.from_batches([chunk.rows for chunk in chunks]).combine_chunks().to_batches()[0]
    letters = [
        replace(one, src_offset=one.src_row, src_row=0) for c in chunks for one in c.rejected
    ]
    ids = rows.column("impression_id").to_pylist()
    mine = [zlib.crc32(each.encode()) % partitions == partition for each in ids]
    rows = rows.filter(pa.array(mine))
    schema = settings.events.impressions if source == "impressions" else settings.events.clicks
    offsets: I64 = rows.column("src_row").to_numpy()
    for name, values in (("src_offset", offsets), ("src_row", np.zeros_like(offsets))):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, schema.field(at), pa.array(values))
    clock: I64 = rows.column("ts").to_numpy()
    refused = [] if partition else letters
    end = max([offsets[-1], *(one.src_offset for one in refused)]) + 1
    return InputLog(source, rows, clock, refused, end, end=end)
