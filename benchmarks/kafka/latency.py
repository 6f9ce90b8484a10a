"""From the end of an example's window to its update: `python -m benchmarks.kafka.latency`.

First the most that the pipeline can do is measured, with single JSON events in filled topics. Then
the same traffic comes live at half of that rate: each event's `ts` is the time it is sent at, the
window is short, and clicks come sooner in the same proportion.

An example's delay begins when the events were handed to the producers that put the watermark of its
partition beyond `ts` + W, and ends when the learner has made the update.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.figures import command
from benchmarks.kafka import learner
from benchmarks.kafka.live import Live, Sent
from benchmarks.kafka.pipeline import whole
from benchmarks.kafka.plant import SOURCES, Plant, kafka
from benchmarks.kafka.traffic import Traffic
from deploy.bench.figures import figure
from deploy.console import err
from streams.compute.arrays import F64

TARGET_S = 2.0
WINDOW_MS, LATENESS_MS = 5_000, 1_000
LOGGED_WINDOW_MS = 1_800_000  # of deploy/bench/trivago.toml
SETTLED_S = 5.0  # after which everything sent has been learned from


def delays(learned: learner.Learned, sent: Sent, span: int) -> F64:
    """From the end of each example's window to its update, s. span: W + L, ms.

    Without examples for which the watermark was lifted, when the flow had ended.
    """
    ends = np.cumsum(learned.rows)
    found = [np.empty(0)]
    for at, number, start, end in zip(
        learned.at, learned.partition, ends - learned.rows, ends, strict=True
    ):
        begun = sent.passed(int(number), learned.ts[start:end] + span)
        found.append(at / 1e6 - begun[np.isfinite(begun)])
    return np.concatenate(found)


def run(sizes: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure: the figures."""
    traffic = Traffic()
    with kafka() as (address, folder):
        most = whole(address, folder, traffic, "json", sizes.times)
        yield figure("most_impressions_per_s", most, "1/s", None)
        live = Live(traffic, most / 2, sizes.seconds, LOGGED_WINDOW_MS / WINDOW_MS)
        window, lateness = f"{WINDOW_MS}ms", f"{LATENESS_MS}ms"
        with Plant(address, folder, JOIN__WINDOW=window, JOIN__LATENESS=lateness) as plant:
            plant.learn()
            plant.join()
            err.print(f"sending {most / 2:,.0f} impressions/s for {sizes.seconds} s")
            with plant.producer(SOURCES[0]) as shown, plant.producer(SOURCES[1]) as clicked:
                sent = live.send((shown, clicked))
            time.sleep(SETTLED_S)
            found = delays(learner.read(plant.journal), sent, WINDOW_MS + LATENESS_MS)
    yield figure("sent_impressions_per_s", sent.rows / sizes.seconds, "1/s", None)
    yield figure("examples", len(found), "", None)
    yield figure("delay_p50", float(np.quantile(found, 0.5)), "s", None)
    yield figure("delay_p99", float(np.quantile(found, 0.99)), "s", TARGET_S, at_most=True)
    yield figure("delay_max", float(found.max()), "s", None)


if __name__ == "__main__":
    command("latency", __doc__, run, times=3, seconds=40)
