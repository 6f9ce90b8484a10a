"""What a slot stores, turned into z and n in float64 and back.

The floating layouts hold z and n themselves. q2.13 holds η·z with η = α / (β + √n), as McMahan et
al., KDD 2013, section 4.2, do, so a coordinate keeps its progress while it is dormant; n is a
code of 16 bits, and η follows from the n that the code stands for. Where rates go by counts, n is
two codes in every layout: see `ftrl.kernels.count_slot_codec`.
"""

import math

import numpy as np

from ftrl.kernels.count_codes import GRADIENTS, Bits, squares
from ftrl.kernels.workspace import Scratch, empty_lanes, in_lanes
from ftrl.table.fixedpoint import (
    HIGHEST,
    HIGHEST_SUM,
    LOWEST,
    SCALE,
    STORED,
    decode_sum,
    draws,
    encode_sum,
    mix,
    stem,
)
from ftrl.table.layout import FIXED, LAYOUTS, Shift, Slots, Stored
from streams.compute.arrays import F64, U64
from streams.compute.jit import inlined, kernel

_1 = np.uint64(1)
_6 = np.uint64(6)
_63 = np.uint64(63)


@inlined
def load(
    slots: Slots, shift: Shift, s: Scratch, begin: int, size: int, alpha: float, beta: float
) -> None:
    """Read z, n and √n of `size` coordinates of a block, from `begin` on, into scratch."""
    at, z, n, root, codes = s.at, s.z, s.n, s.root, s.codes
    if shift is None:
        for j in range(size):
            slot = np.uint64(at[np.uint64(begin + j)])
            z[j] = slots[slot]["z"]
            codes[j] = slots[slot]["n"]
        empty_lanes(z, size)
        empty_lanes(codes, size)
        for j in range(in_lanes(size)):
            n[j] = decode_sum(codes[j])
            root[j] = math.sqrt(n[j])
            z[j] = decode_z(z[j], root[j], alpha, beta)
    else:
        for j in range(size):
            slot = np.uint64(at[np.uint64(begin + j)])
            z[j] = slots[slot]["z"]
            n[j] = slots[slot]["n"]
        empty_lanes(z, size)
        empty_lanes(n, size)
        for j in range(in_lanes(size)):
            root[j] = math.sqrt(n[j])


@inlined
def decode_z(q: float, root: float, alpha: float, beta: float) -> float:
    """z of a stored η·z, in units of 2⁻¹³, and the root of its coordinate's decoded n."""
    return q * (beta + root) * (1 / (SCALE * alpha))


@inlined
def store(
    slots: Slots,
    shift: Shift,
    touched: U64,
    s: Scratch,
    begin: int,
    size: int,
    alpha: float,
    beta: float,
    here: np.uint64,
) -> int:
    """Store z and n of `size` coordinates, from `begin` on, rounded to the table's layout.

    here: of layout q2.13, see `encode`. Returns how many values lay outside what it can hold.
    """
    at, z, n, codes = s.at, s.z, s.n, s.codes
    saturated = 0
    if shift is None:
        saturated = encode(s, begin, size, alpha, beta, here)
        for j in range(size):
            slot = np.uint64(at[np.uint64(begin + j)])
            slots[slot]["z"] = np.int16(z[j])
            slots[slot]["n"] = np.uint16(codes[j])
            touched[slot >> _6] |= _1 << (slot & _63)
    else:
        for j in range(size):
            slot = np.uint64(at[np.uint64(begin + j)])
            slots[slot]["z"] = z[j]
            slots[slot]["n"] = n[j]
            mark = _1 << (slot & _63)
            if touched[slot >> _6] & mark == 0:  # most are since the last save
                touched[slot >> _6] |= mark
    return saturated


@inlined
def circumstances(shift: Shift, seed: np.uint64, place: int, kind: int) -> np.uint64:
    """What a row's roundings depend on but for the coordinate; 0 in layouts that need none."""
    if shift is None:
        return stem(mix(seed, np.uint64(place)), np.uint64(STORED), np.uint64(kind))
    return np.uint64(0)


@inlined
def encode(s: Scratch, begin: int, size: int, alpha: float, beta: float, here: np.uint64) -> int:
    """Turn z and n into what layout q2.13 stores; returns how many lay outside what it can hold.

    n is rounded first, and η·z taken with the η of the rounded n: so z, too, has no bias. here:
    from `circumstances`. Leaves by how much η·z was rounded up, in units of 2⁻¹³, in `root`.
    """
    keys, z, n, codes, error = s.found, s.z, s.n, s.codes, s.root
    saturated = 0
    empty_lanes(z, size)
    empty_lanes(n, size)
    for j in range(in_lanes(size)):
        of_n, of_z = draws(here, keys[np.uint64(begin + j)])
        code = encode_sum(n[j], of_n)
        saturated += 1 if code > HIGHEST_SUM else 0
        code = min(code, HIGHEST_SUM)
        codes[j] = code
        saturated += round_z(z, error, j, scale_of(decode_sum(code), alpha, beta), of_z)
    return saturated


@inlined
def scale_of(n: float, alpha: float, beta: float) -> float:
    """What takes z to η·z in units of 2⁻¹³."""
    return alpha * SCALE / (beta + math.sqrt(n))


@inlined
def round_z(z: F64, error: F64, j: int, scale: float, drawn: float) -> int:
    """Turn z[j] into what is stored, and leave its rounding; returns 1 if it lay outside."""
    exact = scale * z[j]
    rounded = np.floor(exact + drawn)
    kept = min(max(rounded, LOWEST), HIGHEST)
    error[j] = rounded - exact
    z[j] = kept
    return 1 if kept != rounded else 0


@kernel
def _decode_z(q: Stored, n: F64, alpha: float, beta: float, z: F64) -> None:
    for i in range(len(q)):
        z[i] = decode_z(np.float64(q[i]), math.sqrt(n[i]), alpha, beta)


@kernel
def _decode_n(codes: Stored, bits: Bits, spread: float, n: F64) -> None:
    for i in range(len(codes)):
        n[i] = _n_of(np.uint64(codes[i]), bits, spread)


def decoded(
    z: Stored, n: Stored, bits: Bits, spread: float, alpha: float, beta: float
) -> tuple[F64, F64]:
    """z and n, float64, of columns as they are stored, in any layout; spread: 1/r, for counts."""
    found_z, found_n = z.astype(np.float64), n.astype(np.float64)
    if is_fixed(z) or bits != GRADIENTS:
        _decode_n(n, bits, spread, found_n)
    if is_fixed(z):
        _decode_z(z, found_n, alpha, beta, found_z)
    return found_z, found_n


def is_fixed(z: Stored) -> bool:
    """Whether a column of stored z, or a slot's, is of layout q2.13."""
    return z.dtype == LAYOUTS[FIXED]["z"]


@inlined
def n_of(slots: Slots, shift: Shift, bits: Bits, spread: float, slot: int | np.int64) -> float:
    """n of a slot, in any layout; where rates go by counts, about that. spread: 1/r."""
    if shift is None or bits != GRADIENTS:
        return _n_of(np.uint64(slots[slot]["n"]), bits, spread)
    return np.float64(slots[slot]["n"])


@inlined
def _n_of(code: np.uint64, bits: Bits, spread: float) -> float:
    return decode_sum(code) if bits == GRADIENTS else squares(code, bits, spread)


@inlined
def z_of(
    slots: Slots,
    shift: Shift,
    bits: Bits,
    spread: float,
    slot: int | np.int64,
    alpha: float,
    beta: float,
) -> float:
    """z of a slot, in any layout."""
    if shift is None:
        root = math.sqrt(n_of(slots, shift, bits, spread, slot))
        return decode_z(np.float64(slots[slot]["z"]), root, alpha, beta)
    return np.float64(slots[slot]["z"])


@kernel
def nonzero(
    slots: Slots,
    shift: Shift,
    bits: Bits,
    spread: float,
    alpha: float,
    beta: float,
    l1: float,
) -> int:
    """How many used slots have a weight other than 0; spread: 1/r, for counts."""
    count = 0
    for i in range(len(slots)):
        if abs(z_of(slots, shift, bits, spread, i, alpha, beta)) > l1:
            count += 1
    return count
