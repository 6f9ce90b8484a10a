"""What a learner's saved state holds, and whether a learner with given settings can go on."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy.typing as npt

from ftrl.kernels import count_codes, slot_codec
from ftrl.settings import LearnerSettings
from ftrl.table.layout import BUCKETS_A_MIB, FIXED, NO_AGES, Slots, columns
from streams.compute.arrays import U8
from streams.errors import ConfigError, DataError

STATE_FORMAT = 2
# In the oldest there is no eviction, and its filters are not read: counting starts again.
OLDEST_FORMAT = 1
TALLIED = ("bias_z", "bias_n", "refused", "examples", "saturated", "evicted")
TALLIED_BUCKETED = ("rounded", "rounding")  # and these where slots are in buckets
TALLIED_COUNTS = ("negatives", "spread")  # and these where rates go by counts

State: TypeAlias = dict[str, npt.NDArray[Any] | float | int]


def columns_state(slots: Slots, ages: U8 = NO_AGES) -> State:
    """The part of a learner's state that its slots hold: keys ascending, with z and n as stored.

    ages: of the slots (`Learner.ages`).
    """
    return dict(zip(("keys", "z", "n", "ages"), columns(slots, ages), strict=True))


def tallied(settings: LearnerSettings) -> tuple[str, ...]:
    """The names in a learner's tally that are part of its state."""
    bucketed = TALLIED_BUCKETED if settings.layout == FIXED else ()
    return TALLIED + bucketed + (TALLIED_COUNTS if settings.rates == "counts" else ())


def check(settings: LearnerSettings, state: Mapping[str, Any]) -> None:
    """Refuse a state that a learner with `settings` cannot go on from.

    Raises DataError for a format this program does not know, ConfigError if the state has more
    features than the table may hold, or z and n in another layout or by other rates.
    """
    if not OLDEST_FORMAT <= state["format"] <= STATE_FORMAT:
        raise DataError(
            f"the learner's checkpoint has format {state['format']}; this version of "
            f"clickloop reads {OLDEST_FORMAT} to {STATE_FORMAT}: use the version that wrote it"
        )
    features = len(state["keys"])
    if features > settings.max_features:
        raise ConfigError(
            f"the checkpoint holds {features} features, learner.max_features allows "
            f"{settings.max_features}: set it to {features} or more"
        )
    _check_table(settings, state)
    _check_rates(settings, state)


def _check_table(settings: LearnerSettings, state: Mapping[str, Any]) -> None:
    fixed = settings.layout == FIXED
    if slot_codec.is_fixed(state["z"]) != fixed:
        kind = "floating" if fixed else "fixed"
        raise ConfigError(
            f"the checkpoint's features are in {kind} point, learner.layout is "
            f"{settings.layout}: set it to the layout they were saved in"
        )
    if state.get("groups", 0) != (settings.memory * BUCKETS_A_MIB if fixed else 0):
        saved = state.get("groups", 0) // BUCKETS_A_MIB
        raise ConfigError(
            f"the checkpoint's table takes {saved} MiB, learner.memory allows "
            f"{settings.memory}: set it to {saved}; features of one size cannot be found in "
            "another"
        )


def _check_rates(settings: LearnerSettings, state: Mapping[str, Any]) -> None:
    bits, configured = state.get("count_bits", 0), count_codes.bits_of(settings)
    if bool(bits) != bool(configured):
        saved = "counts" if bits else "gradients"
        raise ConfigError(
            f"the checkpoint's rates go by {saved}, learner.rates is {settings.rates}: set it "
            f'to "{saved}", for the one cannot be told from the other'
        )
    if bits != configured:
        raise ConfigError(
            f"the checkpoint's counts are in codes of {bits} bits, layout {settings.layout} "
            f"has {configured}: set learner.layout to the one they were saved in"
        )
