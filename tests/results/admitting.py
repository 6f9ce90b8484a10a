"""Admission without a filter's mistakes, and how many mistakes a filter makes."""

from dataclasses import replace

import numpy as np

from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings
from streams.jit import I64, U64
from tests.results.logs import Log, batches, take


def sightings(log: Log) -> I64:
    """Which sighting of its feature each coordinate of a log is, from 1."""
    order = np.argsort(log.ids, kind="stable")
    ids = log.ids[order]
    first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    runs = np.diff(np.r_[first, len(ids)])
    found = np.empty(len(ids), np.int64)
    found[order] = np.arange(len(ids)) - np.repeat(first, runs) + 1
    return found


def exactly(log: Log, admit_after: int) -> Log:
    """A log without the first sightings of each feature: as if they were counted exactly."""
    kept = sightings(log) > admit_after
    before = np.r_[0, np.cumsum(kept)]
    values = log.values[kept] if len(log.values) else log.values
    return replace(log, indptr=before[log.indptr], keys=log.keys[kept], values=values)


def false_admissions(log: Log, admission: AdmissionSettings) -> tuple[float, float]:
    """Of the sightings that exact counts hold back, the share that a filter lets in.

    As the filter itself estimates it between two batches, and as it is: a copy of the learner
    meets the next batch's features that have not been seen often enough, each by itself.
    """
    n, ones = admission.admit_after, np.ones(len(log.label))
    learner, seen = Learner(log.learner, admission), np.zeros(log.features, np.int64)
    names = np.empty(log.features, np.uint64)
    names[log.ids] = log.keys
    expected, found, asked = 0.0, 0, 0
    for rows in batches(log):
        ids = log.ids[log.indptr[rows.start] : log.indptr[rows.stop]]
        state, estimate = learner.state(), learner.stats().false_positives
        early = names[np.unique(ids[seen[ids] < n])]
        early = early[~np.isin(early, np.asarray(state["keys"]))]
        copy = Learner.restore(log.learner, admission, state)
        meet(copy, early)
        found += copy.features - learner.features
        expected += estimate * len(early)
        asked += len(early)
        take(learner, log, rows, ones, ones)
        seen += np.bincount(ids, minlength=log.features)
    return expected / asked, found / asked


def meet(learner: Learner, keys: U64) -> None:
    """Have a learner sight each of the keys once, and learn nothing."""
    rows = len(keys)
    nothing = np.zeros(rows)
    learner.learn(
        np.arange(rows + 1),
        keys,
        np.empty(0),
        label=np.zeros(rows, np.int8),
        offset=nothing,
        weight=nothing,
        place=np.arange(rows),
    )
