"""The settings of the learner and of admission."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from streams.duration import Duration

MAX_ADMIT_AFTER = 15  # what a 4-bit counter holds
Threshold = Annotated[int, Field(ge=0, le=MAX_ADMIT_AFTER)]


class LearnerSettings(BaseModel, frozen=True, extra="forbid"):
    """`[learner]`: FTRL-Proximal's rates and penalties, and the size of its table."""

    alpha: Annotated[float, Field(gt=0, le=1000)] = Field(
        default=0.1,
        description="The learning rate's scale α: a coordinate's rate is α / (β + √Σg²). "
        "No unit. Range above 0, to 1000; tune it first, between 0.01 and 1. "
        "Source: McMahan et al., KDD 2013, section 3.1.",
    )
    beta: Annotated[float, Field(ge=1e-6, le=1e6)] = Field(
        default=1.0,
        description="The learning rate's β, which keeps a coordinate's first steps small. "
        "No unit. Range 0.000001 to 1000000. Source: McMahan et al., KDD 2013, section 3.1 "
        "(1 is usually good enough).",
    )
    l1: Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=1.0,
        description="The L1 penalty λ1: a coordinate whose |z| is at most λ1 has weight "
        "exactly 0. No unit. Range 0 (no sparsity) to 1000000. The bias is exempt. "
        "Source: McMahan et al., KDD 2013, equation 1.",
    )
    l2: Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=0.0,
        description="The L2 penalty λ2, which pulls every weight, the bias's too, towards 0. "
        "No unit. Range 0 to 1000000. Source: McMahan et al., KDD 2013, Algorithm 1.",
    )
    rates: Literal["gradients", "counts"] = Field(
        default="gradients",
        description="What Σg², by which a coordinate's rate falls, is taken from: `gradients`, the "
        "squared gradients themselves, or `counts`: about P N / (P + N) of the coordinate's P "
        "positive and N negative examples, each of which counts (ω₀x)² times, and sampled ones for "
        "those left out; up to 2^32, in rounded codes (`layout`). The bias always goes by its "
        "gradients. A model learned by one cannot go on by the other. Source: McMahan et al., KDD "
        "2013, section 4.5.",
    )
    layout: Literal["float32", "float64", "q2.13"] = Field(
        default="float32",
        description="How a coordinate is stored: `float32` (16 bytes a slot), `float64` (32), or "
        "`q2.13` (8): a tag of 32 bits for its key, η·z in 16 bits of fixed point, from -4 to 4, "
        "and n as a logarithm in 16 bits, up to 4 million, both rounded at random without bias "
        "(`rounding`); what lies outside is cut off and counted (`saturated`), and now and then "
        "two features are taken for one (`collision_rate`). Needs alpha · l1 / beta "
        "below 4. Arithmetic is in 64 bits in all. Source: 32 bits lose nothing that matters, "
        "and 16 next to nothing (McMahan et al., KDD 2013, section 4.2).",
    )
    max_features: Annotated[int, Field(ge=1, le=2**32)] = Field(
        default=20_000_000,
        description="How many features the table holds at most; `when_full` says what "
        "becomes of further ones. Features; range 1 to 2^32. In `float32` a feature costs 24 to 48 "
        "bytes, because the table doubles when two thirds of its slots are used; address space for "
        "the largest is reserved at the start. In `q2.13` see `memory` too. Source: the memory "
        "there is.",
    )
    memory: Annotated[int, Field(ge=1, le=2**20)] = Field(
        default=128,
        description="The size of the table of layout `q2.13`, which never grows; a MiB holds "
        "114,688 features (seven eighths of its slots); `when_full` says what becomes of further "
        "ones. The other layouts do not use it. MiB; range 1 to 2^20. Source: the memory there is, "
        "and 11 bytes for each feature expected, which leaves three slots in ten empty.",
    )
    expire_after: Annotated[int, Field(ge=0, le=2**40)] = Field(
        default=0,
        description="A feature that was not seen in so many examples leaves the table, at the "
        "latest when it was not in a quarter more; if it comes back it is new. Costs a byte a "
        "slot. Examples; range 0 (never) to 2^40. Source: how long a feature's effect stays what "
        "it was; several times the longest pause of those worth keeping.",
    )
    when_full: Literal["evict", "refuse"] = Field(
        default="evict",
        description="What happens when a new feature finds the table full: `evict` lets those "
        "leave that are worth least, a few thousand at a time (without a weight first, of these "
        "the ones with the least sum of squared gradients), so that there is room when it is seen "
        "again; `refuse` keeps what is there for good. Refused sightings are counted "
        "(`refused`), and so are features that left (`evicted`). Source: `refuse` only where the "
        "first features are known to be the right ones.",
    )
    threads: Annotated[int, Field(ge=1, le=8)] = Field(
        default=1,
        description="How many threads learn a batch: one does the arithmetic, the others find the "
        "features of the next few thousand rows meanwhile, and it helps when it would have to "
        "wait. They come to the same bytes as one, so this may change at any time. Two are the "
        "most that is of use unless features are many and mostly outside the caches; "
        "`threads_ratio` of `clickloop bench learn` says what they gain on a machine. Small "
        "batches, a table that is full and evicts, and one of more than 2^31 slots are one "
        "thread's. Threads; range 1 to 8. Source: the cores there are, if one cannot keep up.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0,
        description="The seed of every random rounding and admission. No unit; range 0 to "
        "2^63 - 1. The same seed, settings and examples give the same bytes. Source: any number "
        "will do.",
    )

    @model_validator(mode="after")
    def _a_new_coordinate_can_get_a_weight(self) -> Self:
        """Before its first step η is α / β; a weight needs |η·z| > η λ1, which q2.13 must hold."""
        if self.layout == "q2.13" and self.alpha * self.l1 / self.beta >= 4:
            raise ValueError(
                f"layout q2.13 holds η·z below 4 only, so with alpha · l1 / beta = "
                f"{self.alpha * self.l1 / self.beta:g} no new feature could get a weight: lower "
                'alpha or l1, raise beta, or use layout = "float32"'
            )
        return self


class AdmissionSettings(BaseModel, frozen=True, extra="forbid"):
    """`[admission]`: how often a feature must be seen before the table takes it in."""

    kind: Literal["off", "bloom", "poisson"] = Field(
        default="off",
        description="`off`: every feature enters at its first sighting. `bloom`: it must first "
        "be seen more than `admit_after` times, counted in a rolling set of counting Bloom "
        "filters. `poisson`: it enters with `probability` at each sighting, which takes no memory "
        "and saves less. Source: McMahan et al., KDD 2013, section 4.1.",
    )
    probability: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.1,
        description="For `poisson`: the chance that a feature outside the table enters when it is "
        "sighted, so it waits for 1 / `probability` sightings on average. Drawn from a hash of the "
        "feature, the example's place in the log and `[learner] seed`. A probability; range above "
        "0, to 1. Source: McMahan et al., KDD 2013, section 4.1 (table 2 has 0.03 and 0.1).",
    )
    admit_after: Threshold = Field(
        default=2,
        description="A feature enters at the sighting after this many; an example sights each "
        "of its features once. Sightings; range 0 to 15. Source: McMahan et al., KDD 2013, "
        "section 4.1; 1 or 2 drop more than half of the features of most logs.",
    )
    thresholds: dict[str, Threshold] = Field(
        default={},
        description="For `bloom`: an `admit_after` of their own for some fields and crosses, by "
        'name: `{ city = 0, "item^user" = 5 }`. 0 lets them enter at once. Sightings; range 0 to '
        "15. Default: all have the one above. Source: as above; crosses have more values that "
        "never come again than fields.",
    )
    raise_at_cap: Threshold = Field(
        default=1,
        description="For `bloom`: while features must leave because the table is full, others must "
        "be seen so many times more before they enter, 15 times in all at most. Needs `[learner] "
        'when_full = "evict"`. Sightings; range 0 to 15. Source: the more features there are for '
        "each that the table holds, the less a rare one is worth a place in it: 1 where the table "
        "holds one in 10 of those seen often enough, 4 where one in 50.",
    )
    generations: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4,
        description="How many filters roll: the oldest is emptied to become the newest, and "
        "a feature's sightings are summed over all of them. Filters; range 1 to 16. Source: more "
        "of them forget more smoothly, and a lookup reads a cache line of each.",
    )
    rotate_every: Annotated[int, Field(ge=1, le=2**40)] = Field(
        default=5_000_000,
        description="A generation lasts for so many examples, so sightings are "
        "remembered for between `generations` - 1 and `generations` times as many. "
        "Examples; range 1 to 2^40. Source: how long a rare feature is worth waiting for.",
    )
    rotate_period: Duration = Field(
        default=0,
        description="A generation lasts for so long in event time, in place of `rotate_every` "
        "examples. A duration; 0 goes by examples. Source: as of `rotate_every`, where traffic "
        "varies.",
    )
    memory: Annotated[float, Field(gt=0, le=2**24)] = Field(
        default=24,
        description="The size of all filters together; the table and the rest come on top. With "
        "too little, rare features are more often let in too early, never too late. MiB; range "
        "above 0, to 2^24. Source: 6 bytes for each distinct feature outside the table in a "
        "generation, times `generations`, leave `false_positives` in the metrics at about 1% for "
        "each generation; `false_admissions` says what that comes to.",
    )

    @property
    def highest(self) -> int:
        """The highest threshold of any feature."""
        return max([self.admit_after, *self.thresholds.values()])
