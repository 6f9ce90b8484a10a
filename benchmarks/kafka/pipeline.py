"""The whole pipeline on Kafka, and the naive one: `python -m benchmarks.kafka.pipeline`.

A broker, a join worker and a learn worker share the machine. Topics are filled first, with JSON
events and then with Arrow batches, the same traffic. The learner waits when the join worker starts;
what counts is the time from when that has its partitions, so that nothing has piled up, to the last
example learned from.

The naive pipeline has topics of its own with the first events of the same traffic: it reads both
topics evenly, and would spend its time on the clicks of the whole log before its impressions.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import command
from benchmarks.kafka import learner
from benchmarks.kafka.plant import SOURCES, Plant, asked, has_partitions, kafka
from benchmarks.kafka.traffic import Traffic
from deploy.bench.figures import figure
from deploy.console import err
from streams.kafka.settings import Format
from tests import ROOT
from tests.support.waiting import eventually
from tests.system.kafka.workers.child import Child

TARGET: Mapping[Format, tuple[float, float]] = {"json": (20_000, 10), "arrow": (100_000, 50)}
PATIENCE_S = 200


def rate(learned: learner.Learned, begun: float) -> float:
    """Examples a second, from a moment, s since the epoch, to the end of the last batch."""
    return float(learned.rows.sum() / (learned.at[-1] / 1e6 - begun))


def sustained(plant: Plant, rows: int) -> float:
    """Examples a second of the workers, which learn from so many."""
    plant.learn()
    join = plant.join()
    eventually(lambda: has_partitions(join))
    begun = time.time()
    until_learned(plant, join, rows)
    return rate(learner.read(plant.journal), begun)


def until_learned(plant: Plant, join: Child, rows: int) -> None:
    """Wait until so many examples were learned from."""
    deadline = time.monotonic() + PATIENCE_S
    while learner.rows_in(plant.journal) < rows:
        assert join.process.poll() is None, join.said
        assert time.monotonic() < deadline, (learner.rows_in(plant.journal), asked(join, "/readyz"))
        time.sleep(0.2)


def whole(address: str, folder: Path, traffic: Traffic, form: Format, times: int) -> float:
    """Impressions a second of the pipeline, over the traffic so many times over."""
    with Plant(address, folder) as plant:
        err.print(f"filling topics: {times * traffic.rows:,} impressions, {form}")
        for source in SOURCES:
            plant.fill(source, traffic.batches(source, times), form)
        plant.close_windows(traffic.end(times))
        err.print("measuring the pipeline")
        return sustained(plant, times * traffic.rows)


def naive(address: str, folder: Path, traffic: Traffic, rows: int) -> float:
    """Impressions a second of the naive pipeline, over about so many."""
    with Plant(address, folder) as plant:
        filled = plant.fill("impressions", traffic.prefix("impressions", rows), "json")
        plant.fill("clicks", traffic.prefix("clicks", rows), "json")
        plant.close_windows(traffic.end(1))
        err.print(f"measuring the naive pipeline: {filled:,} impressions")
        command = [sys.executable, "-m", "benchmarks.kafka.naive", str(plant.config), str(filled)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        return float(json.loads(done.stdout.splitlines()[0])["per_s"])


def run(sizes: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure: the figures."""
    with kafka() as (address, folder):
        traffic = Traffic()
        plain = naive(address, folder, traffic, sizes.naive_rows)
        yield figure("naive_impressions_per_s", plain, "1/s", None)
        repeated: dict[Format, int] = {"json": sizes.json_times, "arrow": sizes.arrow_times}
        for form, times in repeated.items():
            per_s = whole(address, folder, traffic, form, times)
            yield figure(f"{form}_impressions_per_s", per_s, "1/s", TARGET[form][0])
            yield figure(f"{form}_ratio_naive", per_s / plain, "", TARGET[form][1])


if __name__ == "__main__":
    command("pipeline", __doc__, run, json_times=4, arrow_times=16, naive_rows=50_000)
