"""Settings of the traffic simulator: sizes, truth, delays, and the rate of every fault."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from streams.duration import Duration, readable

Rate = Annotated[float, Field(ge=0, le=0.5)]
Effect = Annotated[float, Field(ge=0, le=2)]
HOUR = 3_600_000


class SimulatorSettings(BaseModel, frozen=True, extra="forbid"):
    """All of the simulator's settings. The same settings give the same logs everywhere."""

    impressions: int = Field(
        default=1_000_000, ge=1, le=2**40, description="Impressions shown. Count from 1."
    )
    seed: int = Field(
        default=1, ge=0, lt=2**63, description="Seed of everything random. Whole number from 0."
    )
    start: AwareDatetime = Field(
        default=datetime(2026, 1, 5, tzinfo=UTC),
        ge=datetime(1971, 1, 1, tzinfo=UTC),
        description="When the first impression may be shown. Date and time with time zone.",
    )
    duration: Duration = Field(
        default=7 * 24 * HOUR,
        ge=1000,
        le=3650 * 24 * HOUR,
        description="How long impressions go on. Duration from 1s to 3650d.",
    )

    users: int = Field(
        default=50_000, ge=1, le=2**24, description="Users there are. Count from 1 to 2²⁴."
    )
    ads: int = Field(
        default=3_000,
        ge=50,
        le=2**24,
        description="Ads that live at some time, of which one in 50 lives throughout. "
        "Count from 50 to 2²⁴.",
    )
    advertisers: int = Field(
        default=200, ge=1, le=2**16, description="Advertisers that own the ads. Count from 1."
    )
    publishers: int = Field(
        default=300, ge=1, le=2**16, description="Publishers that show the ads. Count from 1."
    )
    zipf_users: float = Field(
        default=0.7,
        ge=0,
        le=3,
        description="Zipf exponent s: the k-th user's share of the traffic is proportional to "
        "k⁻ˢ. 0 (all alike) to 3.",
    )
    zipf_ads: float = Field(
        default=0.7, ge=0, le=3, description="The same for the ads alive at a time. 0 to 3."
    )
    zipf_publishers: float = Field(
        default=1.0, ge=0, le=3, description="The same for publishers. 0 to 3."
    )
    ad_lifetime: Duration = Field(
        default=48 * HOUR,
        ge=2 * HOUR,
        description="Mean life of an ad; lives run from half to one and a half times this, in "
        "whole hours. Duration, at least 2h.",
    )
    traffic_swing: float = Field(
        default=0.6,
        ge=0,
        le=0.95,
        description="Daily rhythm: traffic at the busiest (quietest) hour is so much above "
        "(below) the mean, as a share of it. 0 to 0.95.",
    )
    positions: int = Field(
        default=4,
        ge=0,
        le=100,
        description="Places on the page, in a column `position` from 0. 0 writes none; to 100.",
    )

    ctr: float = Field(
        default=0.03,
        ge=0.001,
        le=0.5,
        description="Mean true probability of a click (met to within 2% of itself). 0.001 to 0.5.",
    )
    ctr_swing: Effect = Field(
        default=0.3,
        description="Daily rhythm: greatest rise and fall of the logit by hour. Logit, 0 to 2.",
    )
    main_effects: Effect = Field(
        default=0.3,
        description="Standard deviation of the effects of a value of the small fields "
        "(advertiser, category, country, device …). Logit, 0 to 2.",
    )
    entity_effects: Effect = Field(
        default=0.5,
        description="Standard deviation of the effects of a user, an ad, a publisher. "
        "Logit, 0 to 2.",
    )
    cross_effects: Effect = Field(
        default=0.35,
        description="Standard deviation of the effects of a pair of values of each crossed "
        "pair of fields. Logit, 0 to 2.",
    )
    position_bias: Effect = Field(
        default=0.4,
        description="The logit falls by this times ln(1 + position). Logit, 0 to 2.",
    )
    drift: Effect = Field(
        default=0.1,
        description="Standard deviation of what each ad's and publisher's effect is moved by at "
        "any midnight UTC; in between it moves along a straight line. Logit, 0 to 2.",
    )

    window: Duration = Field(
        default=HOUR // 2,
        ge=1000,
        description="The join window that `beyond_window` speaks of, also written to the "
        "settings beside the logs. Duration, at least 1s.",
    )
    delay_median: Duration = Field(
        default=20_000,
        ge=10,
        description="Median time from an impression to its click. Duration, at least 10ms.",
    )
    beyond_window: float = Field(
        default=0.02,
        gt=0,
        lt=0.5,
        description="Share of the clicks that come later than `window` after their impression. "
        "Above 0, below 0.5.",
    )
    longest_delay: Duration = Field(
        default=6 * HOUR,
        description="No click comes later than this. Duration, more than `window`.",
    )
    long_click_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Probability that a click is followed by a `long_click`. 0 leaves that "
        "click type out; to 1.",
    )
    dwell: Duration = Field(
        default=30_000,
        description="A `long_click` comes so long after its click. Duration.",
    )

    lateness: Duration = Field(
        default=10_000,
        description="The join's lateness, only written to the settings beside the logs. Duration.",
    )
    transport: Duration = Field(
        default=200,
        description="Rows reach their log up to this long after they happen (uniform). Duration.",
    )
    out_of_order_rate: Rate = Field(
        default=0.02,
        description="Share of rows, in each log, held up on their way. 0 to 0.5.",
    )
    out_of_order_spread: Duration = Field(
        default=5_000,
        description="They reach their log up to this much later (uniform). Duration.",
    )
    duplicate_rate: Rate = Field(
        default=0.005,
        description="Share of rows, in each log, that are delivered a second time. 0 to 0.5.",
    )
    duplicate_spread: Duration = Field(
        default=60_000,
        description="The second copy comes up to this much later (uniform). Duration.",
    )
    orphan_rate: Rate = Field(
        default=0.005,
        description="Clicks on impressions never shown, as a share of the true ones. 0 to 0.5.",
    )
    malformed_rate: Rate = Field(
        default=0.001,
        description="Malformed rows, as a share of the true ones, in each log; they are extra "
        "rows, so no event is lost by them. 0 to 0.5.",
    )
    skewed_rate: Rate = Field(
        default=0.001,
        description="Share of events, in each log, stamped by one of two machines whose clocks "
        "are wrong: half of them ahead, half behind. 0 to 0.5.",
    )
    skew: Duration = Field(
        default=4_000,
        le=24 * HOUR,
        description="How far those clocks are ahead and behind. Duration, up to 24h. Together "
        "with `out_of_order_spread` beyond `lateness`, joins are lost: one row ahead of time "
        "moves its log's watermark for all.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.delay_median >= self.window:
            problems.append(
                f"delay_median ({readable(self.delay_median)}) must be shorter than window "
                f"({readable(self.window)}): less than half of the clicks come after the window"
            )
        if self.longest_delay <= self.window:
            problems.append(
                f"longest_delay ({readable(self.longest_delay)}) must be longer than window "
                f"({readable(self.window)})"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def start_ms(self) -> int:
        """`start` in milliseconds since the epoch."""
        since = self.start - datetime(1970, 1, 1, tzinfo=UTC)
        return since.days * 24 * HOUR + since.seconds * 1000 + since.microseconds // 1000

    @property
    def click_types(self) -> tuple[str, ...]:
        """The click types there are; `click` is the first."""
        return ("click", "long_click") if self.long_click_share else ("click",)
