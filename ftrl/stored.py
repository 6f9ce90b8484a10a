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
    stem,
)
from ftrl.scratch import Scratch
from ftrl.table import FIXED, LAYOUTS, Slots, Stored
from streams.jit import F64, U64, inlined, kernel

_1 = np.uint64(1)
_6 = np.uint64(6)
_63 = np.uint64(63)


@inlined
def gather(slots: Slots, s: Scratch, begin: int, size: int) -> None:
    """Read z and n, as they are stored, of `size` coordinates of a block, from `begin` on."""
    at, z, n = s.at, s.z, s.n
    for j in range(size):
        slot = np.uint64(at[np.uint64(begin + j)])
        z[j] = slots[slot]["z"]
        n[j] = slots[slot]["n"]


@inlined
def decode_z(q: float, n: float, alpha: float, beta: float) -> float:
    """z of a stored η·z, in units of 2⁻¹³, and its coordinate's decoded n."""
    return q / SCALE * (beta + math.sqrt(n)) / alpha


@inlined
def decode(z: F64, n: F64, size: int, alpha: float, beta: float) -> None:
    """Turn z and n, as layout q2.13 stores them, into what they stand for."""
    for j in range(size):
        n[j] = decode_sum(np.int64(n[j]))
        z[j] = decode_z(z[j], n[j], alpha, beta)


@inlined
def scatter(slots: Slots, touched: U64, s: Scratch, begin: int, size: int) -> None:
    """Store z and n of `size` coordinates, from `begin` on, rounded to the table's layout."""
    at, z, n = s.at, s.z, s.n
    for j in range(size):
        slot = np.uint64(at[np.uint64(begin + j)])
        slots[slot]["z"] = z[j]
        slots[slot]["n"] = n[j]
        touched[slot >> _6] |= _1 << (slot & _63)


@inlined
def encode(
    s: Scratch,
    begin: int,
    size: int,
    alpha: float,
    beta: float,
    here: np.uint64,
    variant: np.uint64,
) -> int:
    """Turn z and n into what layout q2.13 stores; returns how many lay outside what it can hold.

    n is rounded first, and η·z taken with the η of the rounded n: so z, too, has no bias. here:
    a hash of the seed and the row's place.
    """
    keys, z, n = s.found, s.z, s.n
    of_n = stem(here, np.uint64(STORED_N), variant)
    of_z = stem(here, np.uint64(STORED_Z), variant)
    saturated = 0
    for j in range(size):
        key = keys[np.uint64(begin + j)]
        code = encode_sum(n[j], draw(of_n, key))
        if code > HIGHEST_SUM:
            code = HIGHEST_SUM
            saturated += 1
        eta = alpha / (beta + math.sqrt(decode_sum(code)))
        scaled = np.floor(eta * z[j] * SCALE + draw(of_z, key))
        z[j] = min(max(scaled, LOWEST), HIGHEST)
        n[j] = code
        if z[j] != scaled:
            saturated += 1
    return saturated


@kernel
def _decode(q: Stored, codes: Stored, alpha: float, beta: float, z: F64, n: F64) -> None:
    for i in range(len(q)):
        z[i], n[i] = q[i], codes[i]
    decode(z, n, len(q), alpha, beta)


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
            z = decode_z(float(slots[i]["z"]), n, alpha, beta)
        else:
            z = float(slots[i]["z"])
        if abs(z) > l1:
            count += 1
    return count
