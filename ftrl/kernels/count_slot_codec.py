"""A slot with counts: z as `ftrl.kernels.slot_codec` has it, and two codes in place of n.

Not inlined into the kernels: there this rarer way would cost the usual one a fifth of its speed.
"""

import math

import numpy as np

from ftrl.kernels.batch import LIMIT
from ftrl.kernels.count_codes import Bits, encode, split, squares
from ftrl.kernels.slot_codec import decode_z, round_z, scale_of
from ftrl.kernels.workspace import Scratch
from ftrl.table.fixedpoint import draws
from ftrl.table.layout import Shift, Slots
from streams.compute.arrays import U64
from streams.compute.jit import kernel

_1 = np.uint64(1)
_6 = np.uint64(6)
_63 = np.uint64(63)


@kernel
def load(
    slots: Slots,
    shift: Shift,
    bits: Bits,
    spread: float,
    s: Scratch,
    begin: int,
    size: int,
    alpha: float,
    beta: float,
) -> None:
    """Read z, the codes and √Σg² of `size` coordinates of a block, from `begin` on, into scratch.

    spread: 1/r.
    """
    at, z, root, codes = s.at, s.z, s.root, s.codes
    for j in range(size):
        slot = np.uint64(at[np.uint64(begin + j)])
        codes[j] = np.uint64(slots[slot]["n"])
        root[j] = math.sqrt(squares(codes[j], bits, spread))
        z[j] = slots[slot]["z"]
        if shift is None:
            z[j] = decode_z(z[j], root[j], alpha, beta)


@kernel
def count(
    bits: Bits,
    s: Scratch,
    begin: int,
    size: int,
    more: tuple[float, float],
    spread: float,
    here: np.uint64,
) -> int:
    """Count an example in each of `size` coordinates of a block, from `begin` on.

    more: what it adds to P and to N where x is 1. spread: 1/r. here: what the rounding depends on.
    Leaves what is to be stored in `codes`, and about Σg² of that in `n`. Returns how many counts
    were beyond 2³².
    """
    keys, x, n, codes = s.found, s.x, s.n, s.codes
    positive, negative = more
    highest = (_1 << bits) - _1
    saturated = 0
    for j in range(size):
        square = min(x[begin + j] ** 2, LIMIT)
        P, N = split(codes[j], bits)
        drawn, _ = draws(here, keys[begin + j])
        of_p = encode(P + min(positive * square, LIMIT), bits, drawn)
        of_n = encode(max(N + min(negative * square, LIMIT), 0.0), bits, drawn)
        saturated += 1 if max(of_p, of_n) > highest else 0
        codes[j] = min(of_p, highest) << bits | min(of_n, highest)
        n[j] = squares(codes[j], bits, spread)
    return saturated


@kernel
def step(s: Scratch, begin: int, size: int, alpha: float, slope: float) -> None:
    """Move z in scratch as `ftrl.kernels.learn.step` does, where n is n' already."""
    x, z, n, root, w = s.x, s.z, s.n, s.root, s.w
    for j in range(size):
        g = min(max(slope * x[begin + j], -LIMIT), LIMIT)
        z[j] += g - (math.sqrt(n[j]) - root[j]) / alpha * w[j]


@kernel
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
    """Store z and the codes; arguments and what is returned as `ftrl.kernels.slot_codec.store`."""
    at, keys, z, n, codes, error = s.at, s.found, s.z, s.n, s.codes, s.root
    saturated = 0
    for j in range(size):
        slot = np.uint64(at[begin + j])
        if shift is None:
            _, of_z = draws(here, keys[begin + j])
            saturated += round_z(z, error, j, scale_of(n[j], alpha, beta), of_z)
            slots[slot]["z"] = np.int16(z[j])
            slots[slot]["n"] = np.uint16(codes[j])
        else:
            slots[slot]["z"] = z[j]
            slots[slot]["n"] = np.float64(codes[j])
        touched[slot >> _6] |= _1 << (slot & _63)
    return saturated
