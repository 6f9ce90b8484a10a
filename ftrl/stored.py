"""What a slot stores, turned into z and n in float64 and back: one pair of kernels a layout.

The floating layouts hold z and n themselves. q2.13 holds η·z with η = α / (β + √n), as McMahan et
al., KDD 2013, section 4.2, do, so a coordinate keeps its progress while it is dormant; n is a
code of 16 bits, and η follows from the n that the code stands for.
"""

import math

import numpy as np

from ftrl.fixedpoint import (
    HIGHEST,
    HIGHEST_SUM,
    LOWEST,
    SCALE,
    STORED_N,
    STORED_Z,
    decode_sum,
    draw,
    encode_sum,
    mix,
    stem,
)
from ftrl.scratch import N, X, Z
from ftrl.table import FIXED, LAYOUTS, Slots, Stored
from streams.jit import F64, I64, U64, kernel


@kernel
def gather(slots: Slots, at: I64, work: F64, size: int) -> int:
    """Read z and n of the coordinates that have a slot; keep only those; return their number."""
    present = 0
    for j in range(size):
        if at[j] >= 0:
            at[present] = at[j]
            work[X, present] = work[X, j]
            work[Z, present] = slots[at[j]]["z"]
            work[N, present] = slots[at[j]]["n"]
            present += 1
    return present


@kernel
def decode_z(q: np.int64, n: float, alpha: float, beta: float) -> float:
    """z of a stored η·z, in units of 2⁻¹³, and its coordinate's decoded n."""
    return q / SCALE * (beta + math.sqrt(n)) / alpha


@kernel
def gather_fixed(slots: Slots, at: I64, work: F64, size: int, alpha: float, beta: float) -> int:
    """`gather` of layout q2.13."""
    present = 0
    for j in range(size):
        if at[j] >= 0:
            at[present] = at[j]
            n = decode_sum(np.int64(slots[at[j]]["n"]))
            work[X, present] = work[X, j]
            work[Z, present] = decode_z(np.int64(slots[at[j]]["z"]), n, alpha, beta)
            work[N, present] = n
            present += 1
    return present


@kernel
def scatter(slots: Slots, touched: U64, at: I64, work: F64, size: int) -> None:
    """Store z and n of the coordinates in scratch, rounded to the table's layout."""
    for j in range(size):
        slots[at[j]]["z"] = work[Z, j]
        slots[at[j]]["n"] = work[N, j]
        touched[at[j] >> 6] |= np.uint64(1) << np.uint64(at[j] & 63)


@kernel
def scatter_fixed(
    slots: Slots,
    touched: U64,
    at: I64,
    work: F64,
    size: int,
    alpha: float,
    beta: float,
    seed: np.uint64,
    place: np.uint64,
    variant: np.uint64,
) -> int:
    """`scatter` of layout q2.13; returns how many values lay outside what it can hold.

    n is rounded first, and η·z taken with the η of the rounded n: so z, too, has no bias.
    """
    here = mix(seed, place)
    of_n = stem(here, np.uint64(STORED_N), variant)
    of_z = stem(here, np.uint64(STORED_Z), variant)
    saturated = 0
    for j in range(size):
        key = slots[at[j]]["key"]
        code = encode_sum(work[N, j], draw(of_n, key))
        if code > HIGHEST_SUM:
            code = HIGHEST_SUM
            saturated += 1
        eta = alpha / (beta + math.sqrt(decode_sum(code)))
        scaled = np.floor(eta * work[Z, j] * SCALE + draw(of_z, key))
        q = min(max(scaled, LOWEST), HIGHEST)
        if q != scaled:
            saturated += 1
        slots[at[j]]["z"] = np.int16(q)
        slots[at[j]]["n"] = np.uint16(code)
        touched[at[j] >> 6] |= np.uint64(1) << np.uint64(at[j] & 63)
    return saturated


@kernel
def _decode(q: Stored, codes: Stored, alpha: float, beta: float, z: F64, n: F64) -> None:
    for i in range(len(q)):
        n[i] = decode_sum(np.int64(codes[i]))
        z[i] = decode_z(np.int64(q[i]), n[i], alpha, beta)


def is_fixed(z: Stored) -> bool:
    """Whether a column of stored z, or a slot's, is of layout q2.13."""
    return z.dtype == LAYOUTS[FIXED]["z"]


def decoded(z: Stored, n: Stored, alpha: float, beta: float) -> tuple[F64, F64]:
    """z and n, float64, of columns as they are stored, in any layout."""
    if not is_fixed(z):
        return z.astype(np.float64), n.astype(np.float64)
    found_z, found_n = np.empty((2, len(z)))
    _decode(z, n, alpha, beta, found_z, found_n)
    return found_z, found_n


@kernel
def nonzero(slots: Slots, fixed: bool, alpha: float, beta: float, l1: float) -> int:
    """How many used slots have a weight other than 0."""
    count = 0
    for i in range(len(slots)):
        if fixed:
            n = decode_sum(np.int64(slots[i]["n"]))
            z = decode_z(np.int64(slots[i]["z"]), n, alpha, beta)
        else:
            z = float(slots[i]["z"])
        if abs(z) > l1:
            count += 1
    return count
