"""The join worker's metrics for Prometheus, by partition, looked up when they are asked for."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from deploy.workers.join.worker import JoinWorker
from joiner import Joiner
from streams.events import FOREVER, NEVER

SOURCES = ("impressions", "clicks")
_IMPRESSIONS = ("positives", "negatives", "sampled_out", "duplicates", "rejected", "corrections")
_CLICKS = ("matched", "duplicates", "late", "orphans", "rejected")


class JoinMetrics(Collector):
    """The worker's gauges and counters, in a registry of their own."""

    def __init__(self, worker: JoinWorker) -> None:
        self.registry = CollectorRegistry()
        self._worker = worker
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All of it, as it is now. The counts are those of the partition, over all its workers."""
        messages = _counter("messages", "Messages this worker joined.")
        seconds = _counter("turn_seconds", "Time spent joining.")
        letters = CounterMetricFamily(
            "clickloop_join_dead_letters", "Dead letters this worker sent.", labels=["reason"]
        )
        lag = _gauge("lag_messages", "Messages to read.", "source")
        blocks = _gauge("blocks_in_flight", "Blocks published and not acknowledged.")
        for reason, count in list(self._worker.letters.items()):
            letters.add_metric([reason], count)
        joiners: dict[str, Joiner] = {}
        for number, driver in list(self._worker.drivers.items()):
            name = str(number)
            messages.add_metric([name], driver.processed)
            seconds.add_metric([name], driver.seconds)
            for source, left in zip(SOURCES, driver.lag, strict=True):
                lag.add_metric([name, source], left)
            if driver.machine.phase in ("recovery", "live"):
                joiners[name] = driver.machine.joiner
                blocks.add_metric([name], driver.machine.in_flight)
        yield from (messages, seconds, letters, lag, blocks)
        yield from _of_joiners(joiners)


def _of_joiners(joiners: dict[str, Joiner]) -> Iterator[Metric]:
    shown = _counter("impressions", "What became of them.", "outcome")
    clicked = _counter("clicks", "What became of them.", "outcome")
    open_ = _gauge("open_impressions", "Impressions not decided yet.")
    size = _gauge("bytes", "Bytes of what is known.", "where")
    delay = _gauge("watermark_delay_seconds", "The join's watermark behind the clock.")
    breaker = _gauge("breaker_open", "1: clicks stay away, and labels wait.")
    openings = _gauge("breaker_openings", "How often the breaker has opened.")
    for name, joiner in joiners.items():
        ledger = joiner.ledger
        for outcome in _IMPRESSIONS:
            shown.add_metric([name, outcome], getattr(ledger, outcome))
        for outcome in _CLICKS:
            clicked.add_metric([name, outcome], getattr(ledger.all_clicks, outcome))
        open_.add_metric([name], ledger.open)
        size.add_metric([name, "index"], joiner.bytes)
        size.add_metric([name, "rows"], joiner.row_bytes)
        size.add_metric([name, "spilled"], joiner.spilled_bytes)
        watermark = joiner.watermarks.join
        if NEVER < watermark < FOREVER:
            delay.add_metric([name], time.time() - watermark / 1000)
        breaker.add_metric([name], joiner.breaker.open)
        openings.add_metric([name], joiner.breaker.openings)
    yield from (shown, clicked, open_, size, delay, breaker, openings)


def _counter(name: str, words: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"clickloop_join_{name}", words, labels=["partition", *labels])


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"clickloop_join_{name}", words, labels=["partition", *labels])
