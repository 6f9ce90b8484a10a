"""The configuration that the joiners of a worker share, and where a partition's logs begin."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from joiner.core.row_store import Spill
from joiner.settings import JoinSettings, SamplingSettings
from streams.rules import TODAY, RuleNumbers
from streams.schema import EventSchema


@dataclass(frozen=True, slots=True)
class PartitionConfig:
    """What the joiners of a worker have in common.

    max_message_bytes: of a block. cut_rows: so many input rows after a cut the next is published
    even if nothing was labelled. spill: where rows wait that are too many for memory. rules:
    today's; `join` and `sampling` have their defaults. older: from the number of older defaults,
    the settings with these where nobody has set anything; None: they are the same.
    """

    schema: EventSchema
    join: JoinSettings
    sampling: SamplingSettings
    max_message_bytes: int = 900_000
    cut_rows: int = 100_000
    spill: Spill | None = None
    rules: RuleNumbers = TODAY
    older: Callable[[int], tuple[JoinSettings, SamplingSettings]] | None = None

    def begun_by(self, defaults: int) -> "PartitionConfig":
        """The configuration of a partition that began with the defaults of this number."""
        if defaults == self.rules.defaults:
            return self
        join, sampling = (self.join, self.sampling) if self.older is None else self.older(defaults)
        rules = replace(self.rules, defaults=defaults)
        return replace(self, join=join, sampling=sampling, rules=rules)


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The first offset that each of the partition's logs still has."""

    impressions: int
    clicks: int
    labelled: int
