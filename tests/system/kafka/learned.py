"""Whether a learn worker has learned from every example that counts, once, and nothing else."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from deploy import settings
from ftrl.table.layout import columns
from ftrl.training import Training
from streams.arrow_ipc import decode
from tests.system.kafka.pipeline import labelled_messages
from tests.system.kafka.workers.join import Joining
from tests.system.kafka.workers.learner import AUDITED
from tests.system.kafka.workers.learning import state
from tests.system.simulation.check import counting_blocks


def examples(joining: Joining, number: int) -> pa.Table:
    """The examples of a partition that count, in their order."""
    blocks = counting_blocks(labelled_messages(joining, number))
    values = [value for _, value in blocks if value]
    batches = [batch for value in values for batch in decode(value, "the test")]
    return pa.Table.from_batches(batches, joining.schema.labelled)


def check_learned(joining: Joining, config: Path, trained: list[list[Any]], store: Path) -> None:
    """Raise AssertionError if it has not.

    trained: what it noted of each example. The weights in its store are, byte for byte, those of
    one that learned from the same examples in that order and was never hurt.
    """
    counting = {number: examples(joining, number) for number in range(joining.partitions)}
    for number, table in counting.items():
        noted = (table.column(name).to_pylist() for name in AUDITED)
        expected = [list(row) for row in zip(*noted, strict=True)]
        assert [rest for partition, *rest in trained if partition == number] == expected
    training = Training(settings.load(config).training, lambda _: None)
    taken = dict.fromkeys(counting, 0)
    for number, lines in groupby(trained, lambda line: line[0]):
        rows = len(list(lines))
        part = counting[number].slice(taken[number], rows).combine_chunks()
        taken[number] += rows
        for batch in part.to_batches():
            for _ in training.train(batch, number):
                pass
    assert state(store)["weights"] == [part.tobytes() for part in columns(training.learner.slots)]
