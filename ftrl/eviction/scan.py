"""Passes over the table that take features out; `ftrl.eviction.eviction` says when, and which.

A pass looks at stretches: of the keys, in as many equal parts as make some 64 features each in a
full table, or of the groups of layout q2.13. Keys are hashes, so a stretch holds a random sample.
What a pass decides depends on keys, what is stored with them and counts of examples alone, never on
slots: so neither batches, nor growth, nor a restart can change it. Slots that are emptied leave no
marks behind: those that had run on because of them move up (Knuth, TAOCP 3, 6.4, Algorithm R).
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from ftrl.kernels.count_codes import Bits
from ftrl.kernels.slot_codec import n_of, z_of
from ftrl.table.layout import EMPTY, GROUP, Shift, Slots, clear, find, home, least_key
from streams.compute.arrays import U8, U64
from streams.compute.jit import allocating, inlined

Slot: TypeAlias = int | np.int64

BY_RANK = -1  # of `kept`

_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_1 = np.uint64(1)
_6 = np.uint64(6)
_63 = np.uint64(63)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_GROUP_WORDS = GROUP // 64


class Rule(NamedTuple):
    """What goes. stretches: how many there are. bits: the right shift from a key to its stretch.

    kept: features last seen more than so many epochs before `epoch` go; BY_RANK: instead those
    whose rank is at most `bar`. codes, spread: of n, see `ftrl.kernels.count_codes`. alpha, beta,
    l1: of the learner.
    """

    stretches: int
    bits: np.uint64
    epoch: int
    kept: int
    bar: np.uint64
    codes: Bits
    spread: float
    alpha: float
    beta: float
    l1: float


@inlined
def rank(slots: Slots, shift: Shift, slot: Slot, rule: Rule) -> np.uint64:
    """What a feature is worth: whether it has a weight, then its n, then chance, from its key."""
    codes, spread = rule.codes, rule.spread
    n = n_of(slots, shift, codes, spread, slot)
    bits = np.float64(n).view(np.uint64) & _HIGH | np.uint64(slots[slot]["key"]) & _LOW
    weighs = abs(z_of(slots, shift, codes, spread, slot, rule.alpha, rule.beta)) > rule.l1
    return bits | (np.uint64(weighs) << _63)


@inlined
def goes(slots: Slots, ages: U8, shift: Shift, slot: Slot, rule: Rule) -> bool:
    """Whether a feature is to leave."""
    if rule.kept == BY_RANK:
        return bool(rank(slots, shift, slot, rule) <= rule.bar)
    return not fresh(ages, slot, rule)


@inlined
def fresh(ages: U8, slot: Slot, rule: Rule) -> bool:
    """Whether a slot's age is not too great."""
    return bool(((rule.epoch - np.int64(ages[slot])) & 255) <= rule.kept)


@inlined
def remove(slots: Slots, touched: U64, ages: U8, shift: Shift, slot: Slot) -> None:
    """Empty a slot, where slots are not in groups; what had run on because of it moves up."""
    last = len(slots) - 1
    hole = other = np.int64(slot)
    while True:
        other = (other + 1) & last
        key = slots[other]["key"]
        if key == EMPTY:
            break
        first = np.int64(home(slots, shift, key))
        if (other - first) & last >= (other - hole) & last:
            slots[hole] = slots[other]
            if len(ages) > 0:
                ages[hole] = ages[other]
            touched[np.uint64(hole) >> _6] |= _1 << (np.uint64(hole) & _63)
            hole = other
    clear(slots, hole)
    touched[np.uint64(hole) >> _6] |= _1 << (np.uint64(hole) & _63)


@inlined
def _pass_keys(
    slots: Slots,
    touched: U64,
    ages: U8,
    shift: Shift,
    rule: Rule,
    low: np.uint64,
    high: np.uint64,
    ranks: U64,
    done: int,
) -> int:
    """A pass over the keys `low` to `high`, whose homes ascend; see `pass_over`."""
    last = len(slots) - 1
    place, end = np.int64(home(slots, shift, low)), np.int64(home(slots, shift, high))
    while True:
        slot = place & last
        if rule.kept != BY_RANK and place < end and fresh(ages, slot, rule):
            place += 1  # the slot itself is not even read
            continue
        key = slots[slot]["key"]
        if key == EMPTY:
            if place >= end:
                return done
            if rule.kept != BY_RANK:
                ages[slot] = np.uint8(rule.epoch)  # so that it is passed by for long
            place += 1
        elif key < low or key > high:
            place += 1
        elif len(ranks) > 0:
            ranks[done] = rank(slots, shift, slot, rule)
            done += 1
            place += 1
        elif goes(slots, ages, shift, slot, rule):
            remove(slots, touched, ages, shift, slot)  # and look at what is there now
            done += 1
        else:
            place += 1


@allocating
def _pass_group(
    slots: Slots,
    touched: U64,
    ages: U8,
    shift: Shift,
    rule: Rule,
    group: int,
    ranks: U64,
    done: int,
) -> int:
    """A pass over a group; see `pass_over`. If any goes, those that stay are put back anew."""
    first = group * GROUP
    before = done
    if rule.kept != BY_RANK:
        stale = 0
        for slot in range(first, first + GROUP):
            stale += 0 if fresh(ages, slot, rule) else 1
        if stale == 0:
            return done
    for slot in range(first, first + GROUP):
        if slots[slot]["key"] == EMPTY:
            if rule.kept != BY_RANK:
                ages[slot] = np.uint8(rule.epoch)
        elif len(ranks) > 0:
            ranks[done] = rank(slots, shift, slot, rule)
            done += 1
        elif goes(slots, ages, shift, slot, rule):
            slots[slot]["key"] = 0
            done += 1
    if len(ranks) > 0 or done == before:
        return done
    entries = slots[first : first + GROUP].copy()
    lasts = ages[first : first + GROUP].copy()
    for slot in range(first, first + GROUP):
        clear(slots, slot)
    for i in range(GROUP):
        if entries[i]["key"] != EMPTY:
            key = least_key(len(slots) // GROUP, group, np.uint64(entries[i]["key"]))
            place = ~find(slots, shift, key)
            slots[place] = entries[i]
            if len(ages) > 0:
                ages[place] = lasts[i]
    touched[group * _GROUP_WORDS : (group + 1) * _GROUP_WORDS] = _ALL
    return done


@allocating
def pass_over(
    slots: Slots,
    touched: U64,
    ages: U8,
    shift: Shift,
    rule: Rule,
    first: int,
    count: int,
    ranks: U64,
    enough: int,
) -> tuple[int, int]:
    """Look at `count` stretches from `first` on, after the last the first again.

    Takes out the features that go by `rule`; or, if `ranks` has room for any, puts all their ranks
    there, up to the stretch at whose end there are `enough`. ages: uint8 a slot, the epoch in which
    it was last seen, modulo 256, or [0]. Returns how many features that were, and how many
    stretches.
    """
    done = number = 0
    while number < count:
        stretch = (first + number) % rule.stretches
        if shift is None:
            many = 1
            done = _pass_group(slots, touched, ages, shift, rule, stretch, ranks, done)
        else:
            many = 1 if len(ranks) > 0 else min(count - number, rule.stretches - stretch)
            low = np.uint64(stretch) << rule.bits
            high = (np.uint64(stretch + many) << rule.bits) - _1
            if low < shift.unmoved:
                end = min(high, shift.unmoved - _1)
                done = _pass_keys(slots, touched, ages, shift, rule, low, end, ranks, done)
            if high >= shift.unmoved:
                low = max(low, shift.unmoved)
                done = _pass_keys(slots, touched, ages, shift, rule, low, high, ranks, done)
        number += many
        if len(ranks) > 0 and done >= enough:
            break
    return done, number
