"""The learn worker's metrics for Prometheus, counted by examples or messages, not by chunks."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ftrl import Training

MESSAGES = ("learned", "empty", "claim", "void", "foreign")
STEPS = ("read", "learn", "save", "publish", "open")
KINDS = ("first", "correction")
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_MEASURES = {
    "log_loss": "Progressive log loss",
    "normalized_entropy": "Log loss over the entropy of the average CTR",
    "auc": "Area under the ROC curve",
    "calibration": "Mean prediction over CTR",
    "ctr": "Share of positives",
}
_FILTERS = {
    "filter_fill": "Share of the admission filters' counters in use",
    "false_admissions": "Of the sightings that filters should hold back, the share let in: an "
    "estimate from one feature in 128, counted beside them",
    "false_positives": "Share of features never seen that the filters take for seen, measured",
    "false_positives_in_theory": "The same in theory, with so many counters in use",
}


class LearnMetrics(Collector):
    """The learner's counters, gauges and histograms, in a registry of their own."""

    def __init__(self, lag: Callable[[], Mapping[int, int]], owner: Callable[[], bool]) -> None:
        """lag: messages to read, by partition. owner: whether this worker may train."""
        self.registry = CollectorRegistry()
        self._lag = lag
        self.registry.register(self)
        self._gauge("owner", "1: this worker has all partitions and trains.").set_function(
            lambda: float(owner())
        )
        self._examples = self._counter("examples", "Examples learned from.", "kind")
        self._messages = self._counter("messages", "Messages of the labelled topic.", "sort")
        self._saves = self._counter("saves", "Saves committed.")
        self._saved_at = self._gauge("saved_timestamp_seconds", "When the last save was committed.")
        self._steps = Histogram(
            "clickloop_learn_step_seconds",
            "Time that steps take.",
            ("step",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._features = self._gauge("features", "Features in the table.")
        self._left = self._gauge(
            "features_evicted", "Features that have left the table again, as of the last save."
        )
        self._filters = {
            name: self._gauge(name, f"{words}, as of the last save.")
            for name, words in _FILTERS.items()
        }
        self._event_time = self._gauge(
            "event_timestamp_seconds", "Greatest event time of the examples."
        )
        self._measures = {
            name: self._gauge(name, f"{words}, as of the last save.", "labels")
            for name, words in _MEASURES.items()
        }
        for sort in MESSAGES:
            self._messages.labels(sort)
        for kind in KINDS:
            self._examples.labels(kind)
        for step in STEPS:
            self._steps.labels(step)
        self.examples = 0
        self.messages = 0

    def collect(self) -> Iterator[Metric]:
        """The lag, which is looked up when it is asked for."""
        gauge = GaugeMetricFamily(
            "clickloop_learn_lag_messages", "Messages to read.", labels=["partition"]
        )
        for partition, lag in self._lag().items():
            gauge.add_metric([str(partition)], lag)
        yield gauge

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure how long a step takes."""
        start = time.perf_counter()
        yield
        self._steps.labels(name).observe(time.perf_counter() - start)

    def learned(self, examples: int, corrections: int) -> None:
        """So many examples were learned from, corrections among them."""
        self._examples.labels("first").inc(examples - corrections)
        self._examples.labels("correction").inc(corrections)
        self.examples += examples

    def message(self, sort: str) -> None:
        """A message was taken; sort: one of MESSAGES."""
        self._messages.labels(sort).inc()
        self.messages += 1

    def saved(self, now: float) -> None:
        """A save was committed; now: seconds since the epoch."""
        self._saves.inc()
        self._saved_at.set(now)

    def model(self, training: Training) -> None:
        """What the model has come to."""
        self._features.set(training.learner.features)
        self._left.set(training.learner.evicted)
        filters = training.learner.admission
        self._filters["filter_fill"].set(filters.fill())
        self._filters["false_admissions"].set(filters.false_admissions())
        self._filters["false_positives"].set(filters.false_positives())
        self._filters["false_positives_in_theory"].set(filters.false_positives_in_theory())
        if training.cut.ts is not None:
            self._event_time.set(training.cut.ts / 1000)
        evaluations = {"first": training.evaluation}
        if training.corrected is not None:
            evaluations["corrected"] = training.corrected.evaluation
        for labels, evaluation in evaluations.items():
            measured = evaluation.metrics()
            for name, gauge in self._measures.items():
                value = measured[name]  # type: ignore[literal-required] # all are its keys
                if value is not None:
                    gauge.labels(labels).set(value)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"clickloop_learn_{name}", words, labels, registry=self.registry)

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"clickloop_learn_{name}", words, labels, registry=self.registry)
