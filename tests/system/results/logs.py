"""The logs: each joined once, its labelled examples hashed."""

import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np

from deploy import settings
from deploy.bench.hashed_logs import hashed
from deploy.demo import open_bandit
from deploy.simulation import simulate
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.stats import LearnerStats
from streams.compute.arrays import F64, I8, I64, U64
from streams.simulator import SimulatorSettings
from tests import ROOT
from tests.support import needs, trivago

DEMO_DATA = ROOT / ".cache" / "demo"
SIMULATED = SimulatorSettings(impressions=1_000_000, seed=1, ctr=0.1)
ROWS = 20_000  # of a batch

OFF = AdmissionSettings()


@dataclass(frozen=True)
class Log:
    """A log's labelled examples. indptr, keys, values: as `Learner.learn` takes them.

    learner: the settings it is learned from with, where a table says nothing else.
    """

    name: str
    learner: LearnerSettings
    indptr: I64
    keys: U64
    values: F64
    label: I8

    @cached_property
    def ids(self) -> I64:
        """The features numbered from 0, one number for each key."""
        return np.unique(self.keys, return_inverse=True)[1].astype(np.int64)

    @property
    def features(self) -> int:
        """How many different ones there are."""
        return int(self.ids.max()) + 1


@dataclass(frozen=True)
class Learned:
    """Progressive logits of a log, float64, what the model came to, and its filters' bytes."""

    logit: F64
    stats: LearnerStats
    filters: int


def batches(log: Log) -> Iterator[slice]:
    """The rows of one batch after another."""
    for start in range(0, len(log.label), ROWS):
        yield slice(start, min(start + ROWS, len(log.label)))


def parts(log: Log, rows: int) -> Iterator[Log]:
    """A log cut into logs of so many rows."""
    for start in range(0, len(log.label), rows):
        indptr = log.indptr[start : start + rows + 1]
        own = slice(indptr[0], indptr[-1])
        yield replace(
            log,
            indptr=indptr - indptr[0],
            keys=log.keys[own],
            values=log.values[own] if len(log.values) else log.values,
            label=log.label[start : start + rows],
        )


def take(learner: Learner, log: Log, rows: slice, weight: F64, rate: F64) -> F64:
    """Learn some rows; their progressive logits. weight: ω₀; rate: r of each row of the log."""
    return learner.learn(
        log.indptr[rows.start : rows.stop + 1],
        log.keys,
        log.values,
        label=log.label[rows],
        offset=np.zeros(rows.stop - rows.start),
        weight=weight[rows],
        rate=rate[rows],
        place=np.arange(rows.start, rows.stop),
    ).logit


def learn(
    log: Log,
    learner: LearnerSettings,
    admission: AdmissionSettings = OFF,
    weight: F64 | None = None,
    rate: F64 | None = None,
) -> Learned:
    """Learn a whole log; weight and rate as `take` has them, 1 unless given."""
    ones = np.ones(len(log.label))
    weight, rate = ones if weight is None else weight, ones if rate is None else rate
    model = Learner(learner, admission)
    logits = [take(model, log, rows, weight, rate) for rows in batches(log)]
    return Learned(np.concatenate(logits), model.stats(), _filters(model))


def _filters(model: Learner) -> int:
    empty = Learner(LearnerSettings(), OFF)
    others = empty.stats().nbytes - empty.slots.nbytes
    return model.stats().nbytes - model.slots.nbytes - others


def _joined(name: str, values: settings.Settings, impressions: Path, clicks: Path) -> Log:
    return Log(name, values.learner, *hashed(values, impressions, clicks))


def _trivago(name: str, example: str) -> Log:
    values = settings.load(trivago.example(example))
    return _joined(name, values, trivago.IMPRESSIONS, trivago.CLICKS)


def _simulated() -> Log:
    with tempfile.TemporaryDirectory(prefix="clickloop-results-") as folder:
        made = simulate.run(SIMULATED, Path(folder) / "logs")
        return _joined("simulated", settings.load(made.config), made.impressions, made.clicks)


def _open_bandit() -> Log:
    config = files("deploy.demo").joinpath("open_bandit.toml").read_text(encoding="utf-8")
    values = settings.parse(tomllib.loads(config), "open_bandit.toml")
    with tempfile.TemporaryDirectory(prefix="clickloop-results-") as folder:
        logs = open_bandit.write_logs(DEMO_DATA / open_bandit.WHEEL, Path(folder))
        return _joined("Open Bandit", values, logs.impressions, logs.clicks)


PLAIN, CROSSES = "trivago", "trivago, crosses"
LOGS: dict[str, Callable[[], Log]] = {
    PLAIN: lambda: _trivago(PLAIN, "trivago.toml"),
    CROSSES: lambda: _trivago(CROSSES, "trivago-crosses.toml"),
    "simulated": _simulated,
    "Open Bandit": _open_bandit,
}


def missing(name: str) -> str | None:
    """Why a log is not here, if it is not."""
    if name in (PLAIN, CROSSES):
        return None if trivago.THERE else needs.REAL_LOGS
    if name == "Open Bandit" and not (DEMO_DATA / open_bandit.WHEEL).is_file():
        return "`make run` fetches it"
    return None
