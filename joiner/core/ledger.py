"""The ledger: what became of every event, and the clicks' delays. It balances at every moment."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from streams.compute.arrays import I64

_THIRTY_DAYS = 30 * 86_400_000

# Lower edges of the bins, ms: 0, then four an octave from one second, then 30 days. A bin holds
# its lower edge; the last has no upper edge.
DELAY_EDGES: I64 = np.array(
    [0, *(round(1_000 * 2 ** (k / 4)) for k in range(86)), _THIRTY_DAYS], dtype=np.int64
)


@dataclass(frozen=True, slots=True)
class DelayHistogram:
    """Delays of clicks of type `click`, in milliseconds; negative ones (skewed clocks) are 0.

    edges: I64, ascending, the lower edge of each bin; the last bin is open.
    matched: I64 of the same length, the first click of each labelled impression.
    late: I64 of the same length, clicks on known impressions that came too late to label them.
    """

    edges: I64
    matched: I64
    late: I64


class Tally(NamedTuple):
    """The counts that the kernels keep: I64, indexed as the two enumerations below say.

    impressions: [7]. clicks: [types + 1, 8]; the last row is for clicks of no declared type.
    delays: [2, bins] of the bins of DELAY_EDGES, for matched and for late clicks.
    """

    impressions: I64
    clicks: I64
    delays: I64


class ImpressionCount(IntEnum):
    """Index of each impression count in `Tally.impressions`."""

    READ = 0
    POSITIVES = 1
    NEGATIVES = 2
    SAMPLED_OUT = 3
    DUPLICATES = 4
    REJECTED = 5
    CORRECTIONS = 6


class ClickCount(IntEnum):
    """Index of each click count in a row of `Tally.clicks`."""

    READ = 0
    MATCHED = 1
    WAITING = 2
    DUPLICATES = 3
    LATE = 4
    ORPHANS = 5
    REJECTED = 6
    POSITIVES = 7


@dataclass(frozen=True, slots=True)
class ClickLedger:
    """The clicks of one type.

    read: all of them, rejects included. matched: the first to label its impression.
    waiting: those whose impression has not come. duplicates: further clicks on an impression.
    late: those too late to label their impression. orphans: those whose impression never came.
    rejected: refused, with a reason. positives: impressions decided with this type's label 1 (not
    a part of the balance).
    """

    read: int = 0
    matched: int = 0
    waiting: int = 0
    duplicates: int = 0
    late: int = 0
    orphans: int = 0
    rejected: int = 0
    positives: int = 0

    def balances(self) -> bool:
        """Whether every click read is in exactly one of the other counts."""
        return self.read == (
            self.matched + self.waiting + self.duplicates + self.late + self.orphans + self.rejected
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """A snapshot of the joiner's counts.

    impressions: all that were read, rejects included. positives, negatives: first labels
    emitted with label 1 and 0 (of type `click`). sampled_out: negatives dropped by
    subsampling. open: not decided yet. duplicates: refused because the id was known.
    rejected: refused with a reason. corrections: emitted besides first labels (not a part of the
    balance). clicks: a ledger for each declared type, in order, and one named "" for clicks that
    were rejected before the join and have no declared type.
    """

    impressions: int
    positives: int
    negatives: int
    sampled_out: int
    open: int
    duplicates: int
    rejected: int
    corrections: int
    clicks: Mapping[str, ClickLedger]

    def balances(self) -> bool:
        """Whether every event read is in exactly one count, impressions and each click type."""
        decided = self.positives + self.negatives + self.sampled_out
        return self.impressions == decided + self.open + self.duplicates + self.rejected and all(
            clicks.balances() for clicks in self.clicks.values()
        )

    @property
    def all_clicks(self) -> ClickLedger:
        """The sum over the click types."""
        counts = zip(*(astuple(ledger) for ledger in self.clicks.values()), strict=True)
        return ClickLedger(*map(sum, counts))


def empty_tally(click_types: int) -> Tally:
    """All counts 0."""
    return Tally(
        impressions=np.zeros(len(ImpressionCount), np.int64),
        clicks=np.zeros((click_types + 1, len(ClickCount)), np.int64),
        delays=np.zeros((2, len(DELAY_EDGES)), np.int64),
    )


def ledger_of(tally: Tally, open_: int, types: Sequence[str]) -> Ledger:
    """The ledger of a tally. open_: impressions that are open. types: the declared click types."""
    counts = tally.impressions.tolist()
    clicks = zip((*types, ""), tally.clicks.tolist(), strict=True)
    return Ledger(
        impressions=counts[ImpressionCount.READ],
        positives=counts[ImpressionCount.POSITIVES],
        negatives=counts[ImpressionCount.NEGATIVES],
        sampled_out=counts[ImpressionCount.SAMPLED_OUT],
        open=open_,
        duplicates=counts[ImpressionCount.DUPLICATES],
        rejected=counts[ImpressionCount.REJECTED],
        corrections=counts[ImpressionCount.CORRECTIONS],
        clicks={click_type: ClickLedger(*row) for click_type, row in clicks},
    )
