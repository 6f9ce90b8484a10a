"""What becomes of copies that have been learned from: they go back to the table.

Of a feature that occurs in one range of rows only, its copy simply becomes the slot. Where there
are several copies none of them has seen what the others did. While steps are small this hardly
matters, and z and n move by the sum of what the copies have moved by, as FTRL-Proximal moves by the
sum of its gradients. But where each copy alone has come to rest, at the bottom of the loss, the sum
leaps beyond it, and leaps further every time. There weights are averaged instead, as McDonald et
al. do (NAACL 2010), here in proportion to the Σg² they have come by.

How far a copy has come to rest follows from its rate η = α / (β + √n) and from Σg², which is also
about the curvature Σ p(1 - p) (McMahan et al., KDD 2013, section 4.5): alone it would be within
exp(-η Σg²) of rest. The features of a row move together, and so come to rest the sooner: `reach`
times.
"""

import math

import numpy as np

from ftrl import table
from ftrl.copies import BLOCK, Part
from ftrl.kernels import FULL, Rates, Tally
from ftrl.rotation import Progress
from ftrl.table import Shift, Slots, Stored
from streams.intrinsics import prefetch
from streams.jit import I64, U8, U64, inlined, kernel

STRIDE = 256  # copies: by the time they are put back, their slots are loaded

_1 = np.uint64(1)
_6 = np.uint64(6)
_63 = np.uint64(63)


@inlined
def merged(
    now: tuple[float, float],
    begin: tuple[float, float],
    end: tuple[float, float],
    rates: Rates,
    reach: float,
) -> tuple[float, float]:
    """(z, n) as they are `now`, and what a copy has come to from `begin` to `end`.

    With D = β + √n + α λ2, of which -z / D is a multiple as long as the weight is not 0, and Δn of
    either side: the mean of z is D' Σ(Δn z/D) / ΣΔn, the sum z + Δz, and the mean counts
    reach·α·min(Δn) / D' times as much as the sum. Only the sum where one has not moved.
    """
    (z, n), (z_begin, n_begin), (z_end, n_end) = now, begin, end
    others, own = n - n_begin, n_end - n_begin
    total, n_total = z + (z_end - z_begin), n + own
    if others <= 0 or own <= 0:
        return total, n_total
    fixed = rates.beta + rates.alpha * rates.l2
    scale = fixed + math.sqrt(n_total)
    theirs, ours = others * z / (fixed + math.sqrt(n)), own * z_end / (fixed + math.sqrt(n_end))
    share = reach * rates.alpha * min(others, own) / scale
    return (total + share * scale * (theirs + ours) / (others + own)) / (1 + share), n_total


@inlined
def put_back(
    copies: Slots,
    z: Stored,
    n: Stored,
    number: int | np.int64,
    slots: Slots,
    ages: U8,
    now: int,
    touched: U64,
    slot: int | np.int64,
    rates: Rates,
    reach: float,
) -> None:
    """Merge a copy into a slot. z, n: what copies began with. now: the epoch, as in `ages`."""
    at, copy = np.uint64(slot), np.uint64(number)
    slots[at]["z"], slots[at]["n"] = merged(
        (np.float64(slots[at]["z"]), np.float64(slots[at]["n"])),
        (np.float64(z[copy]), np.float64(n[copy])),
        (np.float64(copies[copy]["z"]), np.float64(copies[copy]["n"])),
        rates,
        reach,
    )
    touched[at >> _6] |= _1 << (at & _63)
    if len(ages) > 0:
        ages[at] = now


@kernel
def merge(
    part: Part,
    size: int,
    slots: Slots,
    ages: U8,
    now: int,
    touched: U64,
    first: int,
    end: int,
    rates: Rates,
    reach: float,
    chosen: I64,
) -> None:
    """Merge the copies of features that have one of the slots `first` to `end`.

    chosen: scratch, STRIDE long at least.
    """
    copies, z, n, home = part.copies, part.z, part.n, part.home
    for begin in range(1, size, STRIDE):
        count = 0
        for number in range(begin, min(begin + STRIDE, size)):
            chosen[np.uint64(count)] = number
            slot = home[np.uint64(number)]
            count += 1 if (slot >= first) & (slot < end) else 0
        for i in range(count):
            prefetch(slots, home[chosen[i]])
        for i in range(count):
            put_back(
                copies, z, n, chosen[i], slots, ages, now, touched, home[chosen[i]], rates, reach
            )


@kernel
def sum_up(
    tally: Tally,
    tally_begin: Tally,
    own_tally: Tally,
    progress: Progress,
    progress_begin: Progress,
    own_progress: Progress,
    seen: U8,
    own_seen: U8,
    rates: Rates,
    reach: float,
) -> None:
    """Merge what a thread has counted for itself: its bias, its tally, its part of the sketch."""
    tally[0]["bias_z"], tally[0]["bias_n"] = merged(
        (tally[0]["bias_z"], tally[0]["bias_n"]),
        (tally_begin[0]["bias_z"], tally_begin[0]["bias_n"]),
        (own_tally[0]["bias_z"], own_tally[0]["bias_n"]),
        rates,
        reach,
    )
    tally[0]["examples"] += own_tally[0]["examples"] - tally_begin[0]["examples"]
    tally[0]["refused"] += own_tally[0]["refused"] - tally_begin[0]["refused"]
    progress[0]["held"] += own_progress[0]["held"] - progress_begin[0]["held"]
    progress[0]["early"] += own_progress[0]["early"] - progress_begin[0]["early"]
    for i in range(len(seen)):
        seen[i] = max(seen[i], own_seen[i])


@kernel
def enter(
    part: Part,
    first: int,
    count: int,
    slots: Slots,
    ages: U8,
    now: int,
    touched: U64,
    shift: Shift,
    max_features: int,
    tally: Tally,
    rates: Rates,
    reach: float,
) -> int:
    """Give slots to the features in `entering` from `first` on, and merge their copies into them.

    Returns how far it came: `count`, unless the table is full.
    """
    entering, names = part.entering, part.names
    copies, z, n = part.copies, part.z, part.n
    for i in range(first, count):
        if (i - first) % BLOCK == 0:
            for ahead in range(i, min(i + 2 * BLOCK, count)):
                prefetch(slots, np.int64(table.home(slots, shift, names[entering[ahead]])))
        number = np.int64(entering[i])
        slot = table.find(slots, shift, names[number])
        if slot < 0:
            if tally[0]["used"] >= max_features:
                tally[0]["crowded"] = FULL
                return i
            slot = ~slot
            slots[slot]["key"] = names[number]
            tally[0]["used"] += 1
        put_back(copies, z, n, number, slots, ages, now, touched, slot, rates, reach)
    return count
