"""What a slot stores, turned into z and n in float64 and back.

The floating layouts hold z and n themselves. q2.13 holds η·z with η = α / (β + √n), as McMahan et
al., KDD 2013, section 4.2, do, so a coordinate keeps its progress while it is dormant; n is a
code of 16 bits, and η follows from the n that the code stands for. Where rates go by counts, n is
two codes in every layout: see `ftrl.kernels.count_slot_codec`.
"""

import math
from typing import NamedTuple

import numpy as np

from ftrl.kernels.arguments import Model, Rates
from ftrl.kernels.count_codes import GRADIENTS, Bits, squares
from ftrl.kernels.workspace import Workspace, clear_lanes, in_lanes
from ftrl.table.fixedpoint import HIGHEST, HIGHEST_SUM, LOWEST, SCALE, decode_sum, encode_sum
from ftrl.table.layout import FIXED, LAYOUTS, MaybeHomes, Slot, Slots, Stored
from ftrl.table.rng import STORED, row_context, uniform_draws
from ftrl.table.touched import touch, touch_if_untouched
from streams.compute.arrays import F64
from streams.compute.jit import inlined, kernel


class SlotCodec(NamedTuple):
    """How to read z and n of a slot. bits, spread: of codes of counts, and 1/r; rates: α and β."""

    bits: Bits
    spread: float
    rates: Rates


@inlined
def load(model: Model, work: Workspace, begin: int, size: int) -> None:
    """Read z, n and √n of `size` coordinates of a tile, from `begin` on, into the workspace."""
    slots, rates = model.table.slots, model.rates
    if model.table.homes is None:
        for j in range(size):
            slot = np.uint64(work.slot[np.uint64(begin + j)])
            work.z[j] = slots[slot]["z"]
            work.codes[j] = slots[slot]["n"]
        clear_lanes(work.z, size)
        clear_lanes(work.codes, size)
        for j in range(in_lanes(size)):
            work.n[j] = decode_sum(work.codes[j])
            work.root[j] = math.sqrt(work.n[j])
            work.z[j] = decode_z(work.z[j], work.root[j], rates)
    else:
        for j in range(size):
            slot = np.uint64(work.slot[np.uint64(begin + j)])
            work.z[j] = slots[slot]["z"]
            work.n[j] = slots[slot]["n"]
        clear_lanes(work.z, size)
        clear_lanes(work.n, size)
        for j in range(in_lanes(size)):
            work.root[j] = math.sqrt(work.n[j])


@inlined
def decode_z(q: float, root: float, rates: Rates) -> float:
    """z of a stored η·z, in units of 2⁻¹³, and the root of its coordinate's decoded n."""
    return q * (rates.beta + root) * (1 / (SCALE * rates.alpha))


@inlined
def store(model: Model, work: Workspace, begin: int, size: int, context: np.uint64) -> int:
    """Store z and n of `size` coordinates, from `begin` on, rounded to the table's layout.

    context: of layout q2.13, see `encode`. Returns how many values the layout cannot hold.
    """
    slots, touched = model.table.slots, model.table.touched
    saturated = 0
    if model.table.homes is None:
        saturated = encode(work, begin, size, model.rates, context)
        for j in range(size):
            slot = np.uint64(work.slot[np.uint64(begin + j)])
            slots[slot]["z"] = np.int16(work.z[j])
            slots[slot]["n"] = np.uint16(work.codes[j])
            touch(touched, slot)
    else:
        for j in range(size):
            slot = np.uint64(work.slot[np.uint64(begin + j)])
            slots[slot]["z"] = work.z[j]
            slots[slot]["n"] = work.n[j]
            touch_if_untouched(touched, slot)
    return saturated


@inlined
def rounding_context(homes: MaybeHomes, seed: np.uint64, place: int, kind: int) -> np.uint64:
    """The rng context of a row's roundings; 0 in layouts that round without draws."""
    if homes is None:
        return row_context(seed, place, STORED, kind)
    return np.uint64(0)


@inlined
def encode(work: Workspace, begin: int, size: int, rates: Rates, context: np.uint64) -> int:
    """Turn z and n into what layout q2.13 stores; returns how many values it cannot hold.

    n is rounded first, and η·z computed with the η of the rounded n: so z, too, has no bias.
    context: from `rounding_context`. Leaves by how much η·z was rounded up, in units of 2⁻¹³, in
    `root`.
    """
    saturated = 0
    clear_lanes(work.z, size)
    clear_lanes(work.n, size)
    for j in range(in_lanes(size)):
        draw_n, draw_z = uniform_draws(context, work.keys[np.uint64(begin + j)])
        code = encode_sum(work.n[j], draw_n)
        saturated += 1 if code > HIGHEST_SUM else 0
        code = min(code, HIGHEST_SUM)
        work.codes[j] = code
        saturated += round_z(work.z, work.root, j, scale_of(decode_sum(code), rates), draw_z)
    return saturated


@inlined
def scale_of(n: float, rates: Rates) -> float:
    """The factor from z to η·z in units of 2⁻¹³."""
    return rates.alpha * SCALE / (rates.beta + math.sqrt(n))


@inlined
def round_z(z: F64, error: F64, j: int, scale: float, draw: float) -> int:
    """Turn z[j] into what is stored, and put the rounding into error[j].

    Returns 1 if the layout cannot hold it.
    """
    exact = scale * z[j]
    rounded = np.floor(exact + draw)
    kept = min(max(rounded, LOWEST), HIGHEST)
    error[j] = rounded - exact
    z[j] = kept
    return 1 if kept != rounded else 0


@kernel
def _decode_z(q: Stored, n: F64, rates: Rates, z: F64) -> None:
    for i in range(len(q)):
        z[i] = decode_z(np.float64(q[i]), math.sqrt(n[i]), rates)


@kernel
def _decode_n(codes: Stored, codec: SlotCodec, n: F64) -> None:
    for i in range(len(codes)):
        n[i] = _decode_code(np.uint64(codes[i]), codec)


def decoded(z: Stored, n: Stored, codec: SlotCodec) -> tuple[F64, F64]:
    """z and n, float64, of columns as they are stored, in any layout."""
    decoded_z, decoded_n = z.astype(np.float64), n.astype(np.float64)
    if is_fixed(z) or codec.bits != GRADIENTS:
        _decode_n(n, codec, decoded_n)
    if is_fixed(z):
        _decode_z(z, decoded_n, codec.rates, decoded_z)
    return decoded_z, decoded_n


def is_fixed(z: Stored) -> bool:
    """Whether a column of stored z, or a slot's, is of layout q2.13."""
    return z.dtype == LAYOUTS[FIXED]["z"]


@inlined
def n_of(slots: Slots, homes: MaybeHomes, codec: SlotCodec, slot: Slot) -> float:
    """n of a slot, in any layout; where rates go by counts, about Σg² in its place."""
    if homes is None or codec.bits != GRADIENTS:
        return _decode_code(np.uint64(slots[slot]["n"]), codec)
    return np.float64(slots[slot]["n"])


@inlined
def _decode_code(code: np.uint64, codec: SlotCodec) -> float:
    return decode_sum(code) if codec.bits == GRADIENTS else squares(code, codec.bits, codec.spread)


@inlined
def z_of(slots: Slots, homes: MaybeHomes, codec: SlotCodec, slot: Slot) -> float:
    """z of a slot, in any layout."""
    if homes is None:
        root = math.sqrt(n_of(slots, homes, codec, slot))
        return decode_z(np.float64(slots[slot]["z"]), root, codec.rates)
    return np.float64(slots[slot]["z"])


@kernel
def count_weights(slots: Slots, homes: MaybeHomes, codec: SlotCodec) -> int:
    """How many used slots have a weight other than 0."""
    count = 0
    for i in range(len(slots)):
        if abs(z_of(slots, homes, codec, i)) > codec.rates.l1:
            count += 1
    return count
