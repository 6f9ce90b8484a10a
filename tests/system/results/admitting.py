"""Admission without a filter's mistakes, and how many mistakes a filter makes."""

from dataclasses import replace

import numpy as np

from ftrl.admission.admission import Admission
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings
from streams.compute.arrays import I64, U64, Bool
from tests.system.results.logs import Log, take

STEPS = 600  # in which a log is learned


def held_back(log: Log, admission: AdmissionSettings) -> Bool:
    """Which coordinates of a log an exact counter in the filters' place holds back.

    Bool [nnz]. A feature enters at the first sighting that is at least the (`admit_after` + 1)-th
    of those in its last generations, and then stays; generations turn as those of the filters do.
    """
    order = np.argsort(log.ids, kind="stable")  # by feature, in time
    ids, n = log.ids[order], admission.admit_after
    turn = _turns(log, admission)[order]
    enough = np.zeros(len(ids), np.bool_)
    same = ids[n:] == ids[: len(ids) - n]
    enough[n:] = same & (turn[: len(turn) - n] > turn[n:] - admission.generations)
    first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    so_far = np.cumsum(enough)
    before = np.r_[0, so_far][first]
    held = np.empty(len(ids), np.bool_)
    held[order] = so_far == np.repeat(before, np.diff(np.r_[first, len(ids)]))
    return held


def _turns(log: Log, admission: AdmissionSettings) -> I64:
    """How often the line of each coordinate's feature had turned when it was sighted."""
    rules, whole = Admission(admission).rules, np.uint64(32)
    row = np.repeat(np.arange(len(log.label)), np.diff(log.indptr))
    halves: U64 = log.keys >> whole
    line = (halves * np.uint64(rules.lines) >> whole).astype(np.int64)
    term, into = np.divmod(row, rules.every)
    turns: I64 = term + ((into * rules.pace).astype(np.int64) > line)
    return turns


def some(log: Log, chosen: Bool) -> Log:
    """A log with some of its coordinates only."""
    before = np.r_[0, np.cumsum(chosen)]
    values = log.values[chosen] if len(log.values) else log.values
    return replace(log, indptr=before[log.indptr], keys=log.keys[chosen], values=values)


def exactly(log: Log, admission: AdmissionSettings) -> Log:
    """A log without the sightings that are held back if they are counted exactly."""
    return some(log, ~held_back(log, admission))


def false_admissions(log: Log, admission: AdmissionSettings) -> tuple[float, float]:
    """Of the sightings that exact counts hold back, the share that a filter lets in.

    As the metrics estimate it, and as it was, a generation counting half as much as the one after
    it, as there: in a log of these sightings alone every feature that is let in is a mistake, and
    the filter's counters are those of the whole log, for features in the table are not counted any
    more. (Sightings of features let in shortly before, in the same few rows, are counted too.)
    """
    held = some(log, held_back(log, admission))
    model, ones = Learner(held.learner, admission), np.ones(len(held.label))
    let_in, outside, generation = 0.0, 0.0, 0
    few = -(-len(held.label) // STEPS)
    for start in range(0, len(held.label), few):
        if start // admission.rotate_every != generation:
            generation, let_in, outside = start // admission.rotate_every, let_in / 2, outside / 2
        rows, before = slice(start, min(start + few, len(held.label))), model.features
        own = held.keys[held.indptr[rows.start] : held.indptr[rows.stop]]
        outside += np.isin(own, model.slots["key"], invert=True).sum()
        take(model, held, rows, ones, ones)
        let_in += model.features - before
    return model.stats().false_admissions, let_in / outside
