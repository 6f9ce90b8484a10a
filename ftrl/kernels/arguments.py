"""What the learner's kernels are given beside the examples: the model in memory, and its rates."""

from typing import NamedTuple

import numpy as np

from ftrl.admission.generations import Filters
from ftrl.kernels.count_codes import Bits, Tally
from ftrl.table.layout import TableArrays
from streams.compute.arrays import U8

TALLY = np.dtype(
    [
        ("bias_z", np.float64),
        ("bias_n", np.float64),
        ("used", np.int64),
        ("refused", np.int64),
        ("examples", np.int64),
        ("saturated", np.int64),
        ("rounded", np.int64),
        ("rounding", np.float64),
        ("negatives", np.float64),  # Σ 1/r and
        ("spread", np.float64),  # Σ 1/r² of the negatives, where rates go by counts
        ("evicted", np.int64),
        ("crowded", np.int64),
    ]
)

FULL = -1  # of `crowded`: the table is; 0: nothing is; else 1 + the number of a bucket that is


class Rates(NamedTuple):
    """The algorithm's constants: α, β, λ1, λ2."""

    alpha: float
    beta: float
    l1: float
    l2: float


class Model(NamedTuple):
    """What learning changes, and its bounds.

    room: how many features the table holds before it must grow. sketch: of the features seen, see
    `ftrl.admission.hyperloglog`. tally: one record of type `TALLY`. seed: of the random roundings
    and admissions. bits: of the codes of counts. epoch: the examples of one. evicts: whether to
    return at once when a feature was refused.
    """

    table: TableArrays
    room: int
    max_features: int
    filters: Filters
    sketch: U8
    tally: Tally
    rates: Rates
    seed: np.uint64
    bits: Bits
    epoch: int
    evicts: bool
