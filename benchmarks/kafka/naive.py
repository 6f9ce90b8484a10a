"""The pipeline as it is written first: a plain Faust agent a topic, a dict, one row after another.

It has the settings, the learner and the features of the real one. What it does not do flatters it:
no labelled topic, no dead letters, no checks, nothing that survives a crash.

Usage: python -m benchmarks.kafka.naive CONFIG ROWS. Prints how fast it learned ROWS examples.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import faust
import numpy as np

from deploy import settings
from ftrl.learner import Learner
from tests.oracles.features import FeatureOracle

NEVER = -(1 << 62)
Row = dict[str, Any]


class Naive:
    """Joins and learns, event by event. partitions: of the topics."""

    def __init__(self, values: settings.Settings, partitions: int) -> None:
        self._window, self._lateness = values.join.window, values.join.lateness
        self._features = FeatureOracle(values.features)
        self._learner = Learner(values.learner, values.admission)
        self._open = [OrderedDict[str, Row]() for _ in range(partitions)]
        self._early: list[dict[str, int]] = [{} for _ in range(partitions)]
        self._newest = [[NEVER, NEVER] for _ in range(partitions)]
        self.learned = 0

    def impression(self, partition: int, row: Row) -> None:
        """An impression waits until its window is over."""
        row["label"] = 0
        self._open[partition][row["impression_id"]] = row
        clicked = self._early[partition].pop(row["impression_id"], None)
        if clicked is not None:
            self._label(row, clicked)
        self._advance(partition, 0, row["ts"])

    def click(self, partition: int, row: Row) -> None:
        """A click labels its impression, also one that comes later."""
        shown = self._open[partition].get(row["impression_id"])
        if shown is None:
            self._early[partition][row["impression_id"]] = row["ts"]
        else:
            self._label(shown, row["ts"])
        self._advance(partition, 1, row["ts"])

    def _label(self, shown: Row, ts: int) -> None:
        if -self._lateness <= ts - shown["ts"] <= self._window:
            shown["label"] = 1

    def _advance(self, partition: int, source: int, ts: int) -> None:
        newest = self._newest[partition]
        newest[source] = max(newest[source], ts)
        closed = min(newest) - self._lateness - self._window
        waiting = self._open[partition]
        while waiting:
            first = next(iter(waiting))
            if waiting[first]["ts"] >= closed:
                break
            self._learn(waiting.pop(first))

    def _learn(self, row: Row) -> None:
        pairs = self._features.row(row["features"])
        self._learner.learn(
            np.array([0, len(pairs)]),
            np.array([key for key, _ in pairs], np.uint64),
            np.array([value for _, value in pairs]),
            label=np.array([row["label"]], np.int8),
            offset=np.zeros(1),
            weight=np.ones(1),
        )
        self.learned += 1


def run(config: str, rows: int) -> None:
    """Learn so many examples, print the rate, end the process."""
    values = settings.load(Path(config))
    naive = Naive(values, values.topics.partitions)
    started: list[float] = []
    with tempfile.TemporaryDirectory() as folder:  # Faust makes one, needed or not
        app = faust.App(
            f"{values.kafka.group_prefix}-naive",
            broker=f"kafka://{values.kafka.bootstrap_servers}",
            datadir=folder,
            autodiscover=False,
            consumer_auto_offset_reset="earliest",
            topic_disable_leader=True,
            topic_allow_declare=False,
            # 0 would take an assignor that does not keep equal partition numbers together.
            table_standby_replicas=1,
            web_enabled=False,
            stream_wait_empty=False,
        )

        def look() -> None:
            if naive.learned and not started:
                started.append(time.perf_counter())
            if naive.learned >= rows and len(started) == 1:
                started.append(0.0)
                seconds = time.perf_counter() - started[0]
                print(json.dumps({"per_s": (rows - 1) / seconds}), flush=True)
                os.kill(os.getpid(), signal.SIGTERM)

        async def impressions(stream: faust.StreamT[Any]) -> None:
            async for event in stream.events():
                naive.impression(event.message.partition, event.value)
                look()

        async def clicks(stream: faust.StreamT[Any]) -> None:
            async for event in stream.events():
                naive.click(event.message.partition, event.value)
                look()

        for name, agent in (
            (values.topics.impressions, impressions),
            (values.topics.clicks, clicks),
        ):
            app.agent(app.topic(name, value_serializer="json"), name=name)(agent)
        worker = faust.Worker(app, loglevel="WARN", quiet=True, redirect_stdouts=False)
        worker.spinner = None
        worker.execute_from_commandline()


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
