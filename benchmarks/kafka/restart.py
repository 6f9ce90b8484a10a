"""How long a join worker takes to be back: `python -m benchmarks.kafka.restart`.

Topics are filled with single JSON events whose window is still open, and a worker joins them. Then
it is killed with -9 and started again at once, and new events are sent. All that is open is read
again from the log (nothing is kept anywhere else), after Kafka has missed the dead worker's
heartbeats for the session timeout. The time ends when the broker has appended, in every partition,
the block whose cut is behind the new events.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.figures import command
from benchmarks.kafka import labelled
from benchmarks.kafka.live import Live
from benchmarks.kafka.plant import SOURCES, Plant, closers, is_ready, kafka
from benchmarks.kafka.traffic import Traffic
from deploy.bench.figures import figure
from deploy.console import err
from tests.support.waiting import eventually
from tests.system.kafka.topics import ends

TARGET_S = 20.0
PER_S = 1_000.0  # impressions a second of event time
WINDOW_S, LATENESS_S, CLOSED_S = 3_600, 10, 5  # CLOSED_S: the new events close so much
PATIENCE_S = 120


def send_new(plant: Plant, begun: float) -> dict[int, int]:
    """New events, after which the first windows are over: the offset before which there were none,
    by partition.
    """
    topics, address = plant.settings.topics, plant.settings.kafka.bootstrap_servers
    numbers = range(topics.partitions)
    before = {number: ends(address, topics.impressions, number)[1] for number in numbers}
    ts = int((begun + WINDOW_S + LATENESS_S + CLOSED_S) * 1000)
    with plant.producer(SOURCES[0]) as shown, plant.producer(SOURCES[1]) as clicked:
        for number in numbers:
            first, second = closers(number, topics.partitions)
            shown.send({"impression_id": first, "ts": ts, "features": {}})
            shown.send({"impression_id": second, "ts": ts + 1, "features": {}})
            clicked.send({"impression_id": first, "ts": ts})
    return before


def joined_at(topic: labelled.Topic, offsets: Mapping[int, int]) -> float | None:
    """When every partition had joined the impression at its offset, ms; None: not all have."""
    found = []
    for number, blocks in topic.items():
        later = (one.at for one in blocks if labelled.joined_at([one], one.at) > offsets[number])
        at = next(later, None)
        if at is None:
            return None
        found.append(at)
    return max(found)


def run(sizes: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure: the figures."""
    live = Live(Traffic(), PER_S, sizes.rows / PER_S, 360)
    begun = time.time() - 2 * WINDOW_S
    with kafka() as (address, folder), Plant(address, folder, JOIN__WINDOW="1h") as plant:
        err.print(f"filling topics: {sizes.rows:,} impressions")
        with plant.producer(SOURCES[0]) as shown, plant.producer(SOURCES[1]) as clicked:
            live.fill((shown, clicked), begun)
        worker = plant.join()
        eventually(lambda: is_ready(worker), PATIENCE_S)
        err.print("kill -9, and start again")
        worker.kill()
        started = time.time()
        plant.join()
        offsets = send_new(plant, begun)
        found: list[float] = []

        def back() -> bool:
            at = joined_at(labelled.published(plant), offsets)
            found.extend([] if at is None else [at])
            return bool(found)

        eventually(back, PATIENCE_S)
        claimed = labelled.last_claim(plant)
        timeout = plant.settings.kafka.session_timeout / 1000
    yield figure("rows_read_again", sum(offsets.values()), "", None)
    yield figure("session_timeout", timeout, "s", None)
    yield figure("claimed", claimed / 1000 - started, "s", None)
    yield figure("new_events_joined", found[0] / 1000 - started, "s", TARGET_S, at_most=True)


if __name__ == "__main__":
    command("restart", __doc__, run, rows=1_000_000)
