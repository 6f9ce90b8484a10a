"""The histogram of click delays: how long after its impression a click comes."""

from dataclasses import dataclass

import numpy as np

from streams.compute.arrays import I64

_THIRTY_DAYS = 30 * 86_400_000

# 0, then four an octave from one second, then 30 days. A bin holds its lower edge; the last
# one has no upper edge.
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
