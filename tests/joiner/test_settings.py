"""The settings of the join, and what subsampling keeps."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError

from joiner import JoinSettings, SamplingSettings
from joiner.core.sampling import is_kept, salt
from streams.compute.arrays import U64
from streams.compute.murmur3 import hash128

pytestmark = pytest.mark.kernel

DAY = 86_400_000


def test_durations_are_written_with_units() -> None:
    join = JoinSettings.model_validate({"window": "30m", "lateness": "10s"})
    assert (join.window, join.lateness) == (1_800_000, 10_000)
    assert join == JoinSettings()


@pytest.mark.parametrize(
    ("horizon", "dedupe", "label_span", "known_span"),
    [(0, None, 100, 200), (30, None, 130, 200), (150, None, 250, 250), (30, 0, 130, 130)],
)
def test_spans(horizon: int, dedupe: int | None, label_span: int, known_span: int) -> None:
    join = JoinSettings(window=100, correction_horizon=horizon, dedupe_horizon=dedupe)
    assert join.label_span == label_span
    assert join.known_span == known_span


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 0}, "greater than 0"),
        ({"window": "40d", "correction_horizon": "5d"}, "more than 45d"),
        ({"lateness": -1}, "greater than or equal to 0"),
        ({"window": "half an hour"}, "not a duration"),
        ({"breaker_wait": "46d"}, "less than or equal to"),
        ({"breaker_clicks": 0.5}, "greater than or equal to 1"),
        ({"breaker_absence": float("nan")}, "finite number"),
        ({"breaker_fraction": 0.5}, "less than or equal to 0.4"),
        ({"click_types": ("hide", "click")}, "the first must be"),
        ({"click_types": ()}, "the first must be"),
        ({"click_types": ("click", "hide", "hide")}, "distinct"),
        ({"click_types": ("click", "")}, "not empty"),
        ({"click_types": ("click", *"abcdefgh")}, "at most 8"),
        ({"windw": 1}, "Extra inputs"),
    ],
)
def test_bad_join_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JoinSettings.model_validate(values)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ValidationError, match=r"(?s)window.*greater than 0.*click_types.*distinct"):
        JoinSettings(window=0, click_types=("click", "click"))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_bad_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValidationError):
        SamplingSettings(keep_rate=rate)


@pytest.mark.parametrize("model", [JoinSettings, SamplingSettings])
def test_every_setting_is_described(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert len(field.description or "") > 80, name


def test_the_longest_spans_fit_the_ring() -> None:
    JoinSettings(window=30 * DAY, correction_horizon=14 * DAY, lateness=DAY)


def kept_of(seed: int, rate: float, lows: U64) -> list[bool]:
    """What subsampling says of ids with these low halves of their hash."""
    mixed = salt(seed)
    return [bool(is_kept(low, mixed, rate)) for low in lows]


def test_the_share_kept_is_the_rate() -> None:
    lows = np.random.default_rng(3).integers(0, 2**64, 20_000, np.uint64)
    for rate in (0.1, 0.5, 0.9):
        share = sum(kept_of(5, rate, lows)) / len(lows)
        assert abs(share - rate) < 5 * (rate * (1 - rate) / len(lows)) ** 0.5
    assert all(kept_of(5, 1.0, lows[:1_000]))


def test_a_lower_rate_keeps_a_part_and_another_seed_others() -> None:
    lows = np.random.default_rng(4).integers(0, 2**64, 5_000, np.uint64)
    half, tenth, other = (kept_of(s, r, lows) for s, r in ((5, 0.5), (5, 0.1), (6, 0.5)))
    assert all(a or not b for a, b in zip(half, tenth, strict=True))
    both = sum(a and b for a, b in zip(half, other, strict=True)) / len(lows)
    assert abs(both - 0.25) < 0.035


def test_known_choices() -> None:
    """The choices of a seed are for ever: a change would alter every old run."""
    low, _ = hash128(pa.array(list("abcdefghij")))
    chosen = [name for name, kept in zip("abcdefghij", kept_of(1, 0.5, low), strict=True) if kept]
    assert chosen == ["a", "c", "f", "h", "i", "j"]
