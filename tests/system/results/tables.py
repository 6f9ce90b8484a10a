"""The tables of McMahan et al., KDD 2013, each for one log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table.layout import LAYOUTS
from streams.compute.arrays import F64
from tests.system.results.admitting import exactly, false_admissions, held_back, some
from tests.system.results.descent import descend
from tests.system.results.judging import Judged, detriment, judge, memory, saved
from tests.system.results.logs import OFF, Learned, Log, learn, parts

FOREVER = 2**40  # examples: nothing that was counted is forgotten
LASTING_BYTES = 2  # of filters that forget nothing, for each feature of the log
GENERATIONS = 2  # of filters that roll
PARTS = 8  # of the log: a generation lasts for one
ROLLING_BYTES = 0.75  # of these filters, all generations, for each feature of the log
SEED = 1


@dataclass(frozen=True)
class Table:
    """What goes under one heading. notes: sentences below it."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """The table, its first column of words, the others of figures."""
        lines = [self.head, ("---", *["---:"] * (len(self.head) - 1)), *self.rows]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join([text, *self.notes])


def changed(settings: LearnerSettings, **changes: Any) -> LearnerSettings:
    """Settings with some keys changed, checked again."""
    return LearnerSettings.model_validate(settings.model_dump() | changes)


def share(value: float, digits: int = 2) -> str:
    """A difference, signed, in percent."""
    return f"{value:+.{digits}%}"


def methods(log: Log) -> Table:
    """FTRL-Proximal beside online gradient descent, each with its best α of a few (table 1)."""
    tried: dict[str, list[tuple[Judged, float, int]]] = {}

    def attempt(name: str, alpha: float, logit: F64, nonzero: int) -> None:
        tried.setdefault(name, []).append((judge(logit, log.label), alpha, nonzero))

    for alpha in (0.02, 0.05, 0.1, 0.2, 0.3):
        found = learn(log, changed(log.learner, alpha=alpha, l1=1.0))
        attempt("FTRL-Proximal, λ1 = 1", alpha, found.logit, found.stats.nonzero_weights)
    for alpha in (0.02, 0.05, 0.1, 0.2, 0.3):
        attempt("OGD, per-coordinate rates", alpha, *descend(log, alpha, per_coordinate=True))
    for alpha in (0.3, 1.0, 3.0, 10.0):
        attempt("OGD, global rate", alpha, *descend(log, alpha, per_coordinate=False))
    best = {name: min(tries, key=lambda one: one[0].auc_loss) for name, tries in tried.items()}
    first = next(iter(best.values()))
    rows = [
        (
            name,
            f"{alpha:g}",
            f"{nonzero:,}",
            share(detriment(nonzero, first[2]), 0),
            f"{found.auc_loss:.5f}",
            share(detriment(found.auc_loss, first[0].auc_loss)),
            f"{found.entropy:.5f}",
        )
        for name, (found, alpha, nonzero) in best.items()
    ]
    head = ("method", "α", "non-zeros", "more", "AucLoss", "detriment", "NE")
    return Table(head, rows)


def rolling(log: Log, admit_after: int) -> AdmissionSettings:
    """Filters that remember an eighth to a quarter of a log."""
    return AdmissionSettings(
        kind="bloom",
        admit_after=admit_after,
        generations=GENERATIONS,
        rotate_every=max(len(log.label) // PARTS, 1),
        memory=ROLLING_BYTES * log.features / 2**20,
    )


def lasting(log: Log, admit_after: int) -> AdmissionSettings:
    """Filters that forget nothing."""
    return AdmissionSettings(
        kind="bloom",
        admit_after=admit_after,
        generations=1,
        rotate_every=FOREVER,
        memory=LASTING_BYTES * log.features / 2**20,
    )


def admission(log: Log) -> Table:
    """Which features are worth a slot: Bloom filters, exact counts, Poisson inclusion (table 2)."""
    layout = log.learner.layout
    every = learn(log, log.learner)
    best, whole = judge(every.logit, log.label), memory(every.stats, layout, 0)

    def row(name: str, found: Learned, *rates: str) -> tuple[str, ...]:
        judged = judge(found.logit, log.label)
        held = found.stats.features_admitted
        return (
            name,
            f"{held:,}",
            f"{saved(held, every.stats.features_admitted):.1%}",
            f"{saved(memory(found.stats, layout, found.filters), whole):.1%}",
            share(detriment(judged.auc_loss, best.auc_loss), 3),
            share(detriment(judged.entropy, best.entropy), 3),
            *(rates or ("", "", "")),
        )

    rows = [row("every feature", every)]
    for kind, made in (("", rolling), ("lasting ", lasting)):
        for n in (1, 2, 5):
            settings = made(log, n)
            found = learn(log, log.learner, settings)
            rates = *false_admissions(log, settings), found.stats.false_positives_in_theory
            rows.append(
                row(f"{kind}Bloom filter, n = {n}", found, *(f"{rate:.2%}" for rate in rates))
            )
            exact = learn(exactly(log, settings), log.learner)
            rows.append(row(f"{kind}exact counter, n = {n}", exact))
    for chance in (0.1, 0.03):
        settings = AdmissionSettings(kind="poisson", probability=chance)
        rows.append(row(f"Poisson, p = {chance:g}", learn(log, log.learner, settings)))
    head = ("admitted", "coordinates", "saved", "memory saved", "AucLoss detriment", "NE detriment")
    errors = ("false admissions, estimated", "measured", "false positives in theory")
    return Table((*head, *errors), rows, (_sizes(log),))


def _sizes(log: Log) -> str:
    """How many bytes filters have for each feature that they must tell apart."""
    settings = rolling(log, 2)
    crowds = [
        np.unique(part.keys).size
        for part in parts(some(log, held_back(log, settings)), settings.rotate_every)
    ]
    crowd = sum(crowds) / len(crowds)
    room = settings.memory * 2**20 / GENERATIONS
    return (
        f"With n = 2 a generation counts {crowd:,.0f} features on average, so the filters that "
        f"roll have {room / crowd:.1f} bytes for each."
    )


def layouts(log: Log) -> Table:
    """What storing in fewer bits costs (section 4.2)."""
    rows, exact = [], None
    for layout in ("float64", "float32", "q2.13"):
        found = learn(log, changed(log.learner, layout=layout))
        judged = judge(found.logit, log.label)
        exact = exact or judged
        rows.append(
            (
                layout,
                f"{LAYOUTS[layout].itemsize}",
                f"{memory(found.stats, layout, 0) / 2**20:.2f}",
                f"{judged.entropy:.6f}",
                share(detriment(judged.entropy, exact.entropy), 4),
                f"{judged.calibration:.4f}",
            )
        )
    return Table(("layout", "bytes a slot", "MiB", "NE", "detriment", "calibration"), rows)


def subsampling(log: Log) -> Table:
    """Negatives kept with probability r, weighted 1/r; all are predicted (section 4.6)."""
    drawn = np.random.default_rng(SEED).random(len(log.label))
    rows, whole = [], None
    for r in (1.0, 0.3, 0.1, 0.03):
        kept = (log.label == 1) | (drawn < r)
        rate = np.where((log.label == 1) | ~kept, 1.0, r)
        # An example of weight 0 is predicted, and nothing is learned from it.
        judged = judge(learn(log, log.learner, OFF, kept * 1.0, rate).logit, log.label)
        whole = whole or judged
        rows.append(
            (
                f"{r:g}",
                f"{kept.mean():.1%}",
                f"{judged.entropy:.5f}",
                share(detriment(judged.entropy, whole.entropy)),
                share(detriment(judged.auc_loss, whole.auc_loss)),
                f"{judged.calibration:.4f}",
            )
        )
    return Table(
        ("r", "examples kept", "NE", "detriment", "AucLoss detriment", "calibration"), rows
    )


def rates(log: Log) -> Table:
    """Learning rates from counts against those from squared gradients (section 4.5)."""
    rows, first = [], None
    ways = (("float32", "gradients"), ("float64", "counts"), ("float32", "counts"))
    for layout, way in (*ways, ("q2.13", "counts")):
        settings = changed(log.learner, layout=layout, rates=way)
        judged = judge(learn(log, settings).logit, log.label)
        first = first or judged
        rows.append(
            (
                f"{'Σg²' if way == 'gradients' else 'counts'}, {layout}",
                f"{judged.entropy:.5f}",
                share(detriment(judged.entropy, first.entropy), 3),
                share(detriment(judged.auc_loss, first.auc_loss), 3),
                f"{judged.calibration:.4f}",
            )
        )
    return Table(("rates from", "NE", "detriment", "AucLoss detriment", "calibration"), rows)


TABLES: dict[str, Callable[[Log], Table]] = {
    "Methods": methods,
    "Admission": admission,
    "Layouts": layouts,
    "Subsampling": subsampling,
    "Rates from counts": rates,
}
