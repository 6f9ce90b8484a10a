"""Several learners that each learn a range of rows from the same model, and become one again.

Each is the learner of `tests.oracles.ftrl`, with a copy of all there is.
"""

from collections.abc import Sequence
from math import sqrt

from tests.oracles.counter import ExactCounter
from tests.oracles.ftrl import Ftrl, Row


def learn_ranges(model: Ftrl, ranges: Sequence[Sequence[Row]], together: float) -> list[float]:
    """Teach `model` the ranges, at the same time; returns the rows' logits.

    together: how much of a row's coordinates come to rest as one.
    """
    rows = [row for some in ranges for row in some]
    entered = _admitted(model, rows)
    logits: list[float] = []
    copies = []
    for some in ranges:
        copy = Ftrl(model.alpha, model.beta, model.l1, model.l2, counter=ExactCounter(10**9, 1, 1))
        copy.z, copy.n = dict(model.z), dict(model.n)
        for row in some:
            for key, _ in row.coordinates:
                if key not in copy.z and entered.get(key, 10**9) <= len(logits):
                    copy.z[key] = copy.n[key] = 0.0
            logits.append(copy.learn(row))
        copies.append(copy)
    reach = together * sum(len(row.coordinates) for row in rows) / len(rows)
    before = dict(model.z), dict(model.n)
    for copy in copies:
        for key in copy.z:
            _merge(model, copy, key, before[0].get(key, 0.0), before[1].get(key, 0.0), reach)
    return logits


def _admitted(model: Ftrl, rows: Sequence[Row]) -> dict[int, int]:
    """From which row on features are learned that come into the table."""
    counted = [not (row.correction and row.kept) for row in rows]
    for row, counts in zip(rows, counted, strict=True):
        if counts:
            model.counter.start_example(row.ts)
    entered: dict[int, int] = {}
    for number, row in enumerate(rows):
        bars: dict[int, int] = {}
        for (key, _), bar in zip(row.coordinates, row.bars or (), strict=False):
            bars.setdefault(key, bar)
        for key in dict(row.coordinates):
            new = key not in model.z and key not in entered
            if counted[number] and new and model.counter.admits(key, bars.get(key)):
                entered[key] = number
    return entered


def _merge(model: Ftrl, copy: Ftrl, key: int, z: float, n: float, reach: float) -> None:
    """Bring what a coordinate of `copy` has come to, from z and n on, into `model`."""

    def scale(squares: float) -> float:
        return (model.beta + sqrt(squares)) / model.alpha + model.l2

    z_model, n_model = model.z.get(key, 0.0), model.n.get(key, 0.0)
    z_copy, n_copy = copy.z[key], copy.n[key]
    others, own = n_model - n, n_copy - n
    merged_n = n_model + own
    merged_z = z_model + z_copy - z
    if others > 0 and own > 0:
        means = others * z_model / scale(n_model) + own * z_copy / scale(n_copy)
        average = scale(merged_n) * means / (others + own)
        rest = reach * min(others, own) / scale(merged_n)
        merged_z = (merged_z + rest * average) / (1 + rest)
    model.z[key], model.n[key] = merged_z, merged_n
