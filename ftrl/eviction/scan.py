"""Scans of the table that take features out; `ftrl.eviction.eviction` says when, and which.

A scan goes over stretches. A stretch is one of so many equal parts of all keys that each holds some
64 features of a full table; in layout q2.13 a stretch is a bucket. Keys are hashes, so a stretch
holds a random sample of the features.

What a scan decides depends on keys, on what is stored with them and on counts of examples, never on
slots: so neither batches, nor growth, nor a restart can change it. An emptied slot leaves no
tombstone: the entries that had run on because of it move up (Knuth, TAOCP 3, 6.4, Algorithm R).
"""

from typing import NamedTuple

import numpy as np

from ftrl.kernels.slot_codec import SlotCodec, n_of, z_of
from ftrl.table.layout import (
    BUCKET,
    EMPTY,
    MaybeHomes,
    Slot,
    Slots,
    TableArrays,
    clear,
    find,
    home,
    least_key,
)
from ftrl.table.touched import touch, touch_range
from streams.compute.arrays import U8, U64
from streams.compute.jit import allocating, inlined

BY_RANK = -1  # of `kept`

_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_1 = np.uint64(1)
_63 = np.uint64(63)


class EvictionRule(NamedTuple):
    """Which features leave.

    stretches: how many there are. bits: the right shift from a key to its stretch. epoch: the
    present one, modulo 256. kept: features last seen more than so many epochs ago leave; BY_RANK:
    instead those whose rank is at most `highest` leave. codec: of z and n.
    """

    stretches: int
    bits: np.uint64
    epoch: int
    kept: int
    highest: np.uint64
    codec: SlotCodec


@inlined
def rank(slots: Slots, homes: MaybeHomes, slot: Slot, codec: SlotCodec) -> np.uint64:
    """A feature's worth: by whether it has a weight, then by its n, then by bits of its key."""
    n = n_of(slots, homes, codec, slot)
    bits = np.float64(n).view(np.uint64) & _HIGH | np.uint64(slots[slot]["key"]) & _LOW
    has_weight = abs(z_of(slots, homes, codec, slot)) > codec.rates.l1
    return bits | (np.uint64(has_weight) << _63)


@inlined
def is_evicted(table: TableArrays, slot: Slot, rule: EvictionRule) -> bool:
    """Whether the rule says that a feature leaves."""
    if rule.kept == BY_RANK:
        return bool(rank(table.slots, table.homes, slot, rule.codec) <= rule.highest)
    return not is_recent(table.ages, slot, rule)


@inlined
def is_recent(ages: U8, slot: Slot, rule: EvictionRule) -> bool:
    """Whether a slot's feature was seen in the last `kept` epochs."""
    return bool(((rule.epoch - np.int64(ages[slot])) & 255) <= rule.kept)


@inlined
def remove(table: TableArrays, slot: Slot) -> None:
    """Empty a slot that is in no bucket; entries that had run on because of it move up."""
    slots, ages = table.slots, table.ages
    last = len(slots) - 1
    hole = other = np.int64(slot)
    while True:
        other = (other + 1) & last
        key = slots[other]["key"]
        if key == EMPTY:
            break
        first = np.int64(home(slots, table.homes, key))
        if (other - first) & last >= (other - hole) & last:
            slots[hole] = slots[other]
            if len(ages) > 0:
                ages[hole] = ages[other]
            touch(table.touched, np.uint64(hole))
            hole = other
    clear(slots, hole)
    touch(table.touched, np.uint64(hole))


@inlined
def _scan_keys(
    table: TableArrays, rule: EvictionRule, low: np.uint64, high: np.uint64, ranks: U64, done: int
) -> int:
    """Scan the keys `low` to `high`, whose homes ascend; see `scan`."""
    slots, ages, homes = table.slots, table.ages, table.homes
    last = len(slots) - 1
    position, end = np.int64(home(slots, homes, low)), np.int64(home(slots, homes, high))
    while True:
        slot = position & last
        if rule.kept != BY_RANK and position < end and is_recent(ages, slot, rule):
            position += 1  # the slot itself is not even read
            continue
        key = slots[slot]["key"]
        if key == EMPTY:
            if position >= end:
                return done
            if rule.kept != BY_RANK:
                ages[slot] = np.uint8(rule.epoch)  # so that scans skip the slot for long
            position += 1
        elif key < low or key > high:
            position += 1
        elif len(ranks) > 0:
            ranks[done] = rank(slots, homes, slot, rule.codec)
            done += 1
            position += 1
        elif is_evicted(table, slot, rule):
            remove(table, slot)  # and look at what has moved there
            done += 1
        else:
            position += 1


@allocating
def _scan_bucket(table: TableArrays, rule: EvictionRule, bucket: int, ranks: U64, done: int) -> int:
    """Scan a bucket; see `scan`. If any feature leaves, the others are inserted anew."""
    slots, ages, homes = table.slots, table.ages, table.homes
    first = bucket * BUCKET
    before = done
    if rule.kept != BY_RANK:
        stale = 0
        for slot in range(first, first + BUCKET):
            stale += 0 if is_recent(ages, slot, rule) else 1
        if stale == 0:
            return done
    for slot in range(first, first + BUCKET):
        if slots[slot]["key"] == EMPTY:
            if rule.kept != BY_RANK:
                ages[slot] = np.uint8(rule.epoch)
        elif len(ranks) > 0:
            ranks[done] = rank(slots, homes, slot, rule.codec)
            done += 1
        elif is_evicted(table, slot, rule):
            slots[slot]["key"] = 0
            done += 1
    if len(ranks) > 0 or done == before:
        return done
    entries = slots[first : first + BUCKET].copy()
    entry_ages = ages[first : first + BUCKET].copy()
    for slot in range(first, first + BUCKET):
        clear(slots, slot)
    for i in range(BUCKET):
        if entries[i]["key"] != EMPTY:
            key = least_key(len(slots) // BUCKET, bucket, np.uint64(entries[i]["key"]))
            target = ~find(slots, homes, key)
            slots[target] = entries[i]
            if len(ages) > 0:
                ages[target] = entry_ages[i]
    touch_range(table.touched, first, first + BUCKET)
    return done


@allocating
def _scan_stretches(
    table: TableArrays,
    homes: MaybeHomes,
    rule: EvictionRule,
    stretch: int,
    many: int,
    ranks: U64,
    done: int,
) -> int:
    """Scan `many` stretches from `stretch` on, one if they are buckets; see `scan`."""
    if homes is None:
        return _scan_bucket(table, rule, stretch, ranks, done)
    low = np.uint64(stretch) << rule.bits
    high = (np.uint64(stretch + many) << rule.bits) - _1
    if low < homes.split:
        end = min(high, homes.split - _1)
        done = _scan_keys(table, rule, low, end, ranks, done)
    if high >= homes.split:
        done = _scan_keys(table, rule, max(low, homes.split), high, ranks, done)
    return done


@allocating
def scan(
    table: TableArrays, rule: EvictionRule, first: int, count: int, ranks: U64, enough: int
) -> tuple[int, int]:
    """Scan `count` stretches from `first` on; after the last stretch comes the first again.

    If `ranks` is empty, takes out the features that leave by `rule`. Else it puts the ranks of all
    features there, and ends with the stretch in which they become `enough`. Returns the number of
    these features, and of the stretches scanned.
    """
    done = number = 0
    while number < count:
        stretch = (first + number) % rule.stretches
        many = 1
        if table.homes is not None and len(ranks) == 0:
            many = min(count - number, rule.stretches - stretch)
        done = _scan_stretches(table, table.homes, rule, stretch, many, ranks, done)
        number += many
        if len(ranks) > 0 and done >= enough:
            break
    return done, number
