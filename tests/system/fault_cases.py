"""What runs are killed at: logs and settings, and that every setting does something there."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.compute as pc
import pyarrow.parquet as pq

from deploy import settings
from deploy.replay import inputs
from deploy.replay.replay import replay
from deploy.storage import checkpoint_store
from streams.files.logs import open_log
from streams.simulator import SimulatorSettings, simulate
from tests.support import small_logs, trivago
from tests.support.outcomes import outcome

BLOCK_ROWS = 400
EVERY = 900

SIMULATED_ROWS = 6000
SIMULATED_STARTS = {"early": 0, "late": 12_000}

TRIVAGO_ROWS = 6000
TRIVAGO_STARTS = {"early": 0, "middle": 150_000, "late": 300_000}


@dataclass(frozen=True)
class Case:
    """Logs and settings of a run.

    off: for options, as `section.key`, what turns them off; the outcome is another one then.
    """

    name: str
    config: Path
    impressions: Path
    clicks: Path
    off: Mapping[str, Any] = field(default_factory=dict)


DELAYED: dict[str, Any] = {"sampling.keep_rate": 1.0, "join.correction_horizon": 0}
CAPPED: dict[str, Any] = {"learner.expire_after": 0, "learner.max_features": 1_000_000}
COUNTED: dict[str, Any] = {"admission.kind": "off", "admission.rotate_every": 2**40}
TIMED: dict[str, Any] = {
    "admission.kind": "off",
    "admission.thresholds": {},
    "admission.rotate_period": 0,
}
RAISED: dict[str, Any] = {"admission.raise_at_cap": 0}
DRAWN: dict[str, Any] = {"admission.kind": "off"}
COMPACT: dict[str, Any] = {"learner.layout": "float32"}
BY_COUNTS: dict[str, Any] = {"learner.rates": "gradients"}

_BY_EVENTS = "rotate_every = 300\n"
_BY_TIME = (
    'rotate_period = "15m"\ngenerations = 3\nthresholds = { city = 0, tags = 2, "ad^city" = 5 }\n'
)
_AT_RANDOM = 'kind = "poisson"\nprobability = 0.2\n'
_EVICTING = 'when_full = "evict"\n'

# Options of the learner and of admission, in place of those that small logs have; what is on.
SMALL: Mapping[str, tuple[Mapping[str, str], dict[str, Any]]] = {
    "small": ({}, CAPPED | COUNTED | RAISED),
    "timed": (
        {_BY_EVENTS: _BY_TIME, "max_features = 100\n": 'rates = "counts"\n'},
        {"learner.expire_after": 0} | TIMED | BY_COUNTS,
    ),
    "drawn": (
        {'kind = "bloom"\n': _AT_RANDOM, "[learner]\n": '[learner]\nlayout = "q2.13"\n'},
        CAPPED | DRAWN | COMPACT,
    ),
    "compact": (
        {
            _BY_EVENTS: _BY_TIME,
            "[learner]\n": '[learner]\nlayout = "q2.13"\nrates = "counts"\n' + _EVICTING,
        },
        CAPPED | RAISED | TIMED | COMPACT | BY_COUNTS,
    ),
}

SIMULATED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "early": ("[learner]\n", {"admission.kind": "off"}),
    "late": (
        '[learner]\nlayout = "q2.13"\nmemory = 1\nrates = "counts"\n',
        {"admission.kind": "off"} | COMPACT | BY_COUNTS,
    ),
}

# For docs/examples/trivago-crosses.toml: three in ten clicks come after this window.
_TRIVAGO_JOIN = 'window = "60s"\ncorrection_horizon = "2h"'
_TRIVAGO_SAMPLING = """
[sampling]
keep_rate = 0.3
[snapshots]
every = "30m"
"""
_TRIVAGO_CAP = "[learner]\nmemory = 1\nmax_features = 400\nexpire_after = 400\n"
TRIVAGO: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "early": (
        "[learner]\n",
        'kind = "bloom"\nadmit_after = 1\nrotate_every = 400',
        COUNTED,
    ),
    "middle": (
        _TRIVAGO_CAP + 'layout = "q2.13"\nrates = "counts"\n',
        'kind = "bloom"\nadmit_after = 1\nrotate_period = "10m"\n'
        'thresholds = { item_id = 0, "item_id^user_id" = 3 }',
        CAPPED | RAISED | TIMED | COMPACT | BY_COUNTS,
    ),
    "late": (_TRIVAGO_CAP, _AT_RANDOM, CAPPED | DRAWN),
}


def cases(folder: Path) -> list[Case]:
    """Corrections, subsampling, admission and eviction on, over small logs and simulated ones."""
    found = []
    for name, (changes, off) in SMALL.items():
        text = small_logs.FORGETFUL
        for before, after in changes.items():
            assert before in text, before
            text = text.replace(before, after)
        logs = small_logs.write(folder / name, settings=text)
        found.append(Case(name, logs.config, logs.impressions, logs.clicks, DELAYED | off))
    return found + simulated_cases(folder)


def simulated_cases(folder: Path) -> list[Case]:
    """The same over parts of simulated logs that begin at different points."""
    made = simulate(
        SimulatorSettings(impressions=18_000, users=500, ads=100, beyond_window=0.2, seed=5),
        folder / "simulated",
    )
    text = made.config.read_text() + '\n[sampling]\nkeep_rate = 0.3\n[admission]\nkind = "bloom"\n'
    found = []
    for start, (learner, off) in SIMULATED.items():
        part = folder / f"simulated-{start}"
        part.mkdir()
        config, impressions, clicks = (
            part / name for name in ("config.toml", "impressions.parquet", "clicks.parquet")
        )
        assert "[learner]\n" in text
        config.write_text(text.replace("[learner]\n", learner))
        shown = pq.read_table(made.impressions).slice(SIMULATED_STARTS[start], SIMULATED_ROWS)
        pq.write_table(shown, impressions)
        times = pc.min_max(shown.filter(pc.field("ts") > 0)["ts"]).as_py()
        within = (pc.field("ts") >= times["min"]) & (pc.field("ts") <= times["max"])
        pq.write_table(pq.read_table(made.clicks).filter(within), clicks)
        found.append(Case(part.name, config, impressions, clicks, DELAYED | off))
    return found


def trivago_cases(folder: Path, starts: Iterable[str] = TRIVAGO_STARTS) -> list[Case]:
    """The same over parts of the real logs that begin at different points."""
    example = trivago.example("trivago-crosses.toml").read_text()
    found = []
    for start in starts:
        learner, admission, off = TRIVAGO[start]
        text = example.replace('window = "30m"', _TRIVAGO_JOIN)
        text = text.replace("[learner]\n", learner).replace('kind = "off"', admission)
        name = f"trivago-{start}"
        logs = trivago.write_part(folder / name, TRIVAGO_STARTS[start], TRIVAGO_ROWS)
        config = folder / name / "config.toml"
        config.write_text(text + _TRIVAGO_SAMPLING)
        found.append(Case(name, config, *logs, DELAYED | off))
    return found


@contextmanager
def small_steps() -> Iterator[None]:
    """Small tables have many pages, logs many steps, and no save is put off, so all save alike."""
    with (
        patch.object(inputs, "open_log", functools.partial(open_log, block_rows=BLOCK_ROWS)),
        patch.object(checkpoint_store, "PAGE_SLOTS", 64),
        patch.object(checkpoint_store.CheckpointStore, "busy", new=False),
    ):
        yield


def run(case: Case, out: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Replay to the end, or go on from where a run has died. changes: other settings, by key."""
    values = settings.load(case.config)
    for name, value in {"snapshots.checkpoint_every": EVERY, **(changes or {})}.items():
        section, _, key = name.partition(".")
        part = getattr(values, section).model_copy(update={key: value})
        values = values.model_copy(update={section: part})
    with small_steps():
        replay(values, str(case.impressions), str(case.clicks), out, resume=True)


def straight(case: Case, out: Path) -> dict[str, Any]:
    """The outcome of a run that is never killed."""
    run(case, out)
    return outcome(out)


@dataclass(frozen=True)
class Exercised:
    """What an option does: progressive log loss and features in the table, on and off."""

    option: str
    log_loss: tuple[float, float]
    features: tuple[int, int]

    @property
    def does_something(self) -> bool:
        """Whether predictions are others without it, or more or fewer features are held."""
        return self.log_loss[0] != self.log_loss[1] or self.features[0] != self.features[1]


def exercised(
    case: Case, expected: Mapping[str, Any], folder: Path, sections: tuple[str, ...] = ("",)
) -> list[Exercised]:
    """What each option of a case does, for no option may be on in vain.

    expected: the case's outcome. sections: only options that begin like one of these.
    """
    on, found = expected["metrics"], []
    for option, value in case.off.items():
        if not option.startswith(sections):
            continue
        run(case, folder / option, {option: value})
        off = outcome(folder / option)["metrics"]
        losses = on["metrics"]["log_loss"], off["metrics"]["log_loss"]
        held = on["model"]["features_admitted"], off["model"]["features_admitted"]
        found.append(Exercised(option, losses, held))
    return found
