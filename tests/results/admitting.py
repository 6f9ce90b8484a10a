"""Admission without a filter's mistakes, and how many mistakes a filter makes."""

from dataclasses import replace

import numpy as np

from ftrl.settings import AdmissionSettings
from streams.jit import I64, Bool
from tests.results.logs import Log, learn


def sightings(log: Log) -> I64:
    """Which sighting of its feature each coordinate of a log is, from 1."""
    order = np.argsort(log.ids, kind="stable")
    ids = log.ids[order]
    first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    runs = np.diff(np.r_[first, len(ids)])
    found = np.empty(len(ids), np.int64)
    found[order] = np.arange(len(ids)) - np.repeat(first, runs) + 1
    return found


def some(log: Log, chosen: Bool) -> Log:
    """A log with some of its coordinates only."""
    before = np.r_[0, np.cumsum(chosen)]
    values = log.values[chosen] if len(log.values) else log.values
    return replace(log, indptr=before[log.indptr], keys=log.keys[chosen], values=values)


def exactly(log: Log, admit_after: int) -> Log:
    """A log without the first sightings of each feature: as if they were counted exactly."""
    return some(log, sightings(log) > admit_after)


def false_admissions(log: Log, admission: AdmissionSettings) -> tuple[float, float]:
    """Of the sightings that exact counts hold back, the share that a filter lets in.

    As the metrics estimate it, and as it was: in a log of these sightings alone every feature that
    is let in is a mistake, and the filter's counters are those of the whole log, for features in
    the table are not counted any more.
    """
    early = some(log, sightings(log) <= admission.admit_after)
    stats = learn(early, log.learner, admission).stats
    return stats.false_admissions, stats.features_admitted / len(early.keys)
