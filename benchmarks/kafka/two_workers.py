"""What a second join worker adds: `python -m benchmarks.kafka.two_workers`.

Four partitions are filled with single JSON events. A worker on one core joins them alone, then a
second one on another core joins the group and takes over half of the partitions. Rates are those of
the labelled topic, by the times at which the broker appended its blocks: of the first worker alone,
and of both from when all partitions go on until the first of them is done. Every id must be in the
labelled topic, once.
"""

import argparse
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.figures import command
from benchmarks.kafka import labelled
from benchmarks.kafka.plant import CLOSERS, SOURCES, Plant, asked, has_partitions, is_ready, kafka
from benchmarks.kafka.traffic import Traffic
from deploy.bench.figures import figure
from deploy.console import err
from tests.support.waiting import eventually
from tests.system.kafka.topics import ends
from tests.system.kafka.workers.child import Child

TARGET_RATIO = 1.4
PATIENCE_S = 200
GAUGES = r"^clickloop_join_(open_impressions|blocks_in_flight){.*} (.*)$"
WARM_MS = 1_000  # after a change, before rates count


def lost_and_repeated(expected: Iterable[pa.Array], found: Iterable[pa.Array]) -> tuple[int, int]:
    """How many of these ids are missing, and how many come once too often."""
    wanted, arrived = (pa.chunked_array([*ids], pa.string()) for ids in (expected, found))
    missing = len(wanted) - pc.sum(pc.is_in(wanted, value_set=pc.unique(arrived))).as_py()
    return missing, len(arrived) - (len(wanted) - missing)


def is_publishing(plant: Plant) -> bool:
    """Whether there are blocks in every partition of the labelled topic."""
    topics, address = plant.settings.topics, plant.settings.kafka.bootstrap_servers
    return all(ends(address, topics.labelled, n)[1] > 5 for n in range(topics.partitions))


def join_with_two(plant: Plant, alone_s: float) -> tuple[int, int]:
    """Join all there is; the second worker comes so many seconds after the first began.

    The times, ms, when the second was started and when it had its partitions.
    """
    cores = sorted(os.sched_getaffinity(0))
    assert len(cores) > 1, "two cores are needed"
    first = plant.join(cores[0])
    eventually(lambda: is_publishing(plant), 60)
    time.sleep(alone_s)
    came = int(time.time() * 1000)
    second = plant.join(cores[1])
    eventually(lambda: has_partitions(second), 60)
    took = int(time.time() * 1000)
    for worker in (first, second):
        eventually(lambda worker=worker: is_done(worker), PATIENCE_S)  # type: ignore[misc]
    for worker in (first, second):
        worker.stop()
    return came, took


def is_done(worker: Child) -> bool:
    """Whether a worker has published all that can be: what closed the windows is open for good."""
    if not is_ready(worker):
        return False
    found = re.findall(GAUGES, asked(worker, "/metrics")[1], re.MULTILINE)
    left = [float(value) for name, value in found if name == "open_impressions"]
    in_flight = [float(value) for name, value in found if name == "blocks_in_flight"]
    return bool(left) and max(left) <= CLOSERS and not any(in_flight)


def run(sizes: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure: the figures."""
    traffic = Traffic()
    with kafka() as (address, folder), Plant(address, folder) as plant:
        err.print(f"filling topics: {sizes.times * traffic.rows:,} impressions")
        for source in SOURCES:
            plant.fill(source, traffic.batches(source, sizes.times), "json")
        plant.close_windows(traffic.end(sizes.times))
        err.print("joining with one worker, then with two")
        came, took = join_with_two(plant, sizes.alone)
        topic = labelled.published(plant)
    single = labelled.rate(topic, labelled.all_publish(topic, 0) + WARM_MS, came)
    both = labelled.all_publish(topic, took) + WARM_MS
    two = labelled.rate(topic, both, labelled.first_done(topic))
    expected = (batch["impression_id"] for batch in traffic.batches("impressions", sizes.times))
    lost, repeated = lost_and_repeated(expected, labelled.ids(topic))
    yield figure("one_worker_impressions_per_s", single, "1/s", None)
    yield figure("two_workers_impressions_per_s", two, "1/s", None)
    yield figure("ratio", two / single, "", TARGET_RATIO)
    yield figure("measured_with_two", (labelled.first_done(topic) - both) / 1000, "s", None)
    yield figure("longest_pause", labelled.longest_pause(topic, came, both), "s", None)
    yield figure("lost", lost, "", 0, at_most=True)
    yield figure("repeated", repeated, "", 0, at_most=True)


if __name__ == "__main__":
    command("two_workers", __doc__, run, times=14, alone=5)
