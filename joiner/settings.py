"""Settings of the join and of negative subsampling: `[join]` and `[sampling]`."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from streams.duration import Duration, readable
from streams.schema import CLICK

MAX_CLICK_TYPES = 8  # one bit each in a pending impression's labels
# A click's delay, from -L on, is kept as 32 bits of milliseconds (49 days).
MAX_SPAN_MS = 45 * 86_400_000
MAX_LATENESS_MS = 4 * 86_400_000


class JoinSettings(BaseModel, frozen=True, extra="forbid"):
    """How long, and how far out of order, a click may come and still label its impression."""

    window: Duration = Field(
        default=1_800_000,
        gt=0,
        description="W: how long after its impression a click counts, in event time. The label "
        "is delayed by as much, so a short window learns sooner and misses more clicks (which "
        "then come late). A duration, more than 0; W + H + L at most 45 days. The delay "
        "between an impression and its label is studied by He et al., ADKDD 2014, section 4.",
    )
    lateness: Duration = Field(
        default=10_000,
        le=MAX_LATENESS_MS,
        description="L: how far out of order the events of one log may be, and how far the "
        "clocks of the two may differ. A log's watermark is its greatest time minus L. A "
        "duration, 0 to 4 days; W + H + L at most 45 days. Watermarks as in Akidau et al., "
        "The Dataflow Model, VLDB 2015; the waiting for either side of the join as in "
        "Ananthanarayanan et al., Photon, SIGMOD 2013.",
    )
    correction_horizon: Duration = Field(
        default=0,
        description="H: how long after the window a click still corrects the label of an "
        "impression that was emitted as a negative. 0 emits no corrections. A duration; "
        "W + H + L at most 45 days. The impressions' rows are kept for as long.",
    )
    dedupe_horizon: Duration | None = Field(
        default=None,
        description="D: how long after the window an impression stays known, so that a second "
        "one with its id is a duplicate and a late click is recognised (32 bytes and an index "
        "entry each, not the row). The greater of D and H holds. A duration, 0 or more. "
        "Default: the window.",
    )
    breaker_wait: Duration = Field(
        default=1_800_000,
        le=MAX_SPAN_MS,
        description="How much longer than W an impression waits at most for its label while the "
        "breaker is open, that is, while clicks stay away that should have come: they would be "
        "taught as negatives. Memory grows by as much. A duration, 0 (no breaker) to 45 days. "
        "Source: how long an outage of the click log lasts that is worth waiting for.",
    )
    breaker_clicks: float = Field(
        default=50.0,
        ge=1.0,
        le=10_000.0,
        allow_inf_nan=False,
        description="The sample over which the breaker judges the rate of clicks, and how many "
        "must have come before it judges at all. The long-run rate remembers 200 to 400 times "
        "as many. Expected clicks; range 1 to 10000. Source: a Poisson count of mean 50 falls "
        "below 5 with probability 5e-17; a smaller sample notices sooner.",
    )
    breaker_absence: float = Field(
        default=20.0,
        ge=1.0,
        le=10_000.0,
        allow_inf_nan=False,
        description="So many clicks expected since the last one, with none seen, open the "
        "breaker. Expected clicks; range 1 to 10000. Source: a Poisson count of mean x is 0 "
        "with probability exp(-x), 2e-9 for 20.",
    )
    breaker_fraction: float = Field(
        default=0.1,
        ge=0.0,
        le=0.4,
        allow_inf_nan=False,
        description="The breaker opens when fewer than this share of a sample's expected clicks "
        "come in time; it closes when half of them do. A share; range 0 (only absence opens it) "
        "to 0.4. Source: below the lowest rate of a usual day, as a share of the average.",
    )
    click_types: tuple[str, ...] = Field(
        default=(CLICK,),
        description="The click types of the logs, each of which joins by itself. The first "
        "must be `click`, the one that gives `label`; a further type t gives `label_t`. "
        "1 to 8 distinct names.",
    )

    @field_validator("click_types")
    @classmethod
    def _check_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        problems = []
        if not types or types[0] != CLICK:
            problems.append(f"the first must be {CLICK!r}")
        if len(set(types)) != len(types) or "" in types:
            problems.append("they must be distinct and not empty")
        if len(types) > MAX_CLICK_TYPES:
            problems.append(f"at most {MAX_CLICK_TYPES} are possible")
        if problems:
            raise ValueError("; ".join(problems))
        return types

    @model_validator(mode="after")
    def _check(self) -> Self:
        span = self.window + self.correction_horizon + self.lateness
        if span > MAX_SPAN_MS:
            raise ValueError(
                f"window + correction_horizon + lateness is {readable(span)}, more than "
                f"{readable(MAX_SPAN_MS)}; shorten one of them"
            )
        return self

    @property
    def label_span(self) -> int:
        """W + H in milliseconds: the longest delay with which a click can label or correct."""
        return self.window + self.correction_horizon

    @property
    def known_span(self) -> int:
        """W + max(H, D) in milliseconds: how long an impression stays known."""
        dedupe = self.window if self.dedupe_horizon is None else self.dedupe_horizon
        return self.window + max(self.correction_horizon, dedupe)


class SamplingSettings(BaseModel, frozen=True, extra="forbid"):
    """Which negatives are kept for learning."""

    keep_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=1.0,
        description="r: the share of negatives that is kept; the learner gives each of them "
        "the weight 1/r, so predictions stay unbiased. Positives of any click type are all "
        "kept. Range (0, 1]. McMahan et al., KDD 2013, section 4.6.",
    )
    seed: Annotated[int, Field(ge=0, lt=1 << 64)] = Field(
        default=0,
        description="Seed of the hash of the impression id that decides: the same ids are kept "
        "in every run with this seed. Range 0 to 2^64 - 1.",
    )
