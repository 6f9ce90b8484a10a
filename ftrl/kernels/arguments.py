"""What the learner's kernels are given beside the examples: the model in memory, and its rates."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ftrl.admission import generations
from ftrl.kernels import count_codes
from ftrl.table import layout
from streams.compute.arrays import U8, U64

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
Tally = npt.NDArray[np.void]

FULL = -1  # of `crowded`: the table is; 0: nothing is; else 1 + a group that is


class Rates(NamedTuple):
    """The algorithm's constants: α, β, λ1, λ2."""

    alpha: float
    beta: float
    l1: float
    l2: float


class Model(NamedTuple):
    """What learning changes, and its bounds.

    touched: uint64, a bit a slot, set when it is stored to. tally: one record of type `TALLY`.
    seed: of the random roundings. bits: of the codes, where rates go by counts. ages: uint8 a slot,
    the epoch in which its key was last seen, modulo 256, or [0]. epoch: the examples of one.
    evicts: whether to say at once that a feature was refused.
    """

    slots: layout.Slots
    touched: U64
    shift: layout.Shift
    room: int
    max_features: int
    words: U64
    rules: generations.Rules
    progress: generations.Progress
    seen: U8
    tally: Tally
    seed: np.uint64
    bits: count_codes.Bits
    ages: U8
    epoch: int
    evicts: bool
