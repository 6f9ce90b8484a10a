"""A slot with counts: z as `ftrl.kernels.slot_codec` has it, and two codes in place of n.

These kernels are not inlined into the others: there this rarer way would cost the usual one a fifth
of its speed. So each call passes every array of its arguments, 7 words an array, and `load` is not
given the whole model: with it learning by counts took 1.04 times as long.
"""

import math

import numpy as np

from ftrl.kernels.arguments import Rates
from ftrl.kernels.batch import LIMIT
from ftrl.kernels.count_codes import Bits, encode, split, squares
from ftrl.kernels.slot_codec import SlotCodec, decode_z, round_z, scale_of
from ftrl.kernels.workspace import Workspace
from ftrl.table.layout import MaybeHomes, Slots, TableArrays
from ftrl.table.rng import uniform_draws
from ftrl.table.touched import touch
from streams.compute.jit import kernel

_1 = np.uint64(1)


@kernel
def load(
    slots: Slots, homes: MaybeHomes, codec: SlotCodec, work: Workspace, begin: int, size: int
) -> None:
    """Read z, the codes and √Σg² of `size` coordinates of a tile, from `begin` on."""
    for j in range(size):
        slot = np.uint64(work.slot[np.uint64(begin + j)])
        work.codes[j] = np.uint64(slots[slot]["n"])
        work.root[j] = math.sqrt(squares(work.codes[j], codec.bits, codec.spread))
        work.z[j] = slots[slot]["z"]
        if homes is None:
            work.z[j] = decode_z(work.z[j], work.root[j], codec.rates)


@kernel
def count(
    bits: Bits,
    work: Workspace,
    begin: int,
    size: int,
    increments: tuple[float, float],
    spread: float,
    context: np.uint64,
) -> int:
    """Count an example in each of `size` coordinates of a tile, from `begin` on.

    increments: what the example adds to P and to N where x is 1. spread: 1/r. context: of the
    rounding's draws. Leaves what is to be stored in `codes`, and about Σg² of that in `n`. Returns
    how many counts were beyond 2³².
    """
    x, n, codes = work.x, work.n, work.codes
    positive, negative = increments
    highest = (_1 << bits) - _1
    saturated = 0
    for j in range(size):
        square = min(x[begin + j] ** 2, LIMIT)
        P, N = split(codes[j], bits)
        draw, _ = uniform_draws(context, work.keys[begin + j])
        code_p = encode(P + min(positive * square, LIMIT), bits, draw)
        code_n = encode(max(N + min(negative * square, LIMIT), 0.0), bits, draw)
        saturated += 1 if max(code_p, code_n) > highest else 0
        codes[j] = min(code_p, highest) << bits | min(code_n, highest)
        n[j] = squares(codes[j], bits, spread)
    return saturated


@kernel
def step(work: Workspace, begin: int, size: int, alpha: float, slope: float) -> None:
    """Move z as `ftrl.kernels.learn.step` does, where `n` is n' already."""
    for j in range(size):
        g = min(max(slope * work.x[begin + j], -LIMIT), LIMIT)
        work.z[j] += g - (math.sqrt(work.n[j]) - work.root[j]) / alpha * work.w[j]


@kernel
def store(
    table: TableArrays, work: Workspace, begin: int, size: int, rates: Rates, context: np.uint64
) -> int:
    """Store z and the codes; returns how many values the layout cannot hold.

    Arguments as of `ftrl.kernels.slot_codec.store`.
    """
    slots, z, codes = table.slots, work.z, work.codes
    saturated = 0
    for j in range(size):
        slot = np.uint64(work.slot[begin + j])
        if table.homes is None:
            _, draw_z = uniform_draws(context, work.keys[begin + j])
            saturated += round_z(z, work.root, j, scale_of(work.n[j], rates), draw_z)
            slots[slot]["z"] = np.int16(z[j])
            slots[slot]["n"] = np.uint16(codes[j])
        else:
            slots[slot]["z"] = z[j]
            slots[slot]["n"] = np.float64(codes[j])
        touch(table.touched, slot)
    return saturated
