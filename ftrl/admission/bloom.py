"""Blocked counting Bloom filters: how often a key was sighted, never too few times.

A filter is a Bloom filter of 4-bit counters, raised conservatively (Estan and Varghese, SIGCOMM
2002), up to saturation, and blocked: all counters of a key lie in one cache line (Putze et al., JEA
2009). Several generations of filters roll. A key has the same line in each generation, and the
generations of a line lie side by side.
"""

import math

import numpy as np

from ftrl.settings import MAX_ADMIT_AFTER
from streams.compute.arrays import F64, U64
from streams.compute.jit import inlined, kernel
from streams.compute.splitmix import GOLDEN

PROBES = 4
LINE_WORDS = 8
LINE_COUNTERS = 128
LINE_BYTES = 64
PARTS = 32
MOST_LINES = 1 << 14  # sampled for fills: the share of 2 million counters is that of all

_SCATTER = np.uint64(GOLDEN)  # the factor of Knuth's multiplicative hash
_1 = np.uint64(1)
_4 = np.uint64(4)
_7 = np.uint64(7)
_15 = np.uint64(15)
_32 = np.uint64(32)
_57 = np.uint64(57)


@inlined
def line_of(lines: int, key: np.uint64) -> np.int64:
    """Which of the lines a key has, from the key's high half."""
    return np.int64(((key >> _32) * np.uint64(lines)) >> _32)


@inlined
def sightings(words: U64, start: int | np.int64, key: np.uint64) -> np.int64:
    """How often the line at `start` has sighted `key`, at most: the least of the key's counters."""
    bits = key * _SCATTER
    least = _15
    for _ in range(PROBES):
        probe = bits >> _57
        word = words[np.uint64(start) + (probe >> _4)]
        least = min(least, (word >> ((probe & _15) * _4)) & _15)
        bits <<= _7
    return np.int64(least)


@inlined
def sight(words: U64, start: int | np.int64, key: np.uint64) -> None:
    """Raise the least of the counters of `key` in the line at `start`, up to saturation."""
    least = sightings(words, start, key)
    if least == MAX_ADMIT_AFTER:
        return
    bits = key * _SCATTER
    for _ in range(PROBES):
        probe = bits >> _57
        word = np.uint64(start) + (probe >> _4)
        shift = (probe & _15) * _4
        is_least = np.int64((words[word] >> shift) & _15) == least
        words[word] += np.uint64(is_least) << shift  # no branch, for it could not be predicted
        bits <<= _7


@inlined
def empty(words: U64, start: int | np.int64) -> None:
    """Set the counters of the line at `start` to 0."""
    for word in range(start, start + LINE_WORDS):
        words[word] = 0


def fills(words: U64, generations: int) -> F64:
    """The share of counters that are not 0, 0 to 1: float64 [up to 32 parts, generations].

    A part is a run of neighbouring lines, for the sweep leaves some runs fuller than others. Of
    many lines an evenly spread sample is read, so that the call takes milliseconds at any size.
    """
    lines = words.reshape(-1, generations, LINE_WORDS)
    lines = lines[:: -(-len(lines) // MOST_LINES)]
    parts = np.array_split(lines, min(PARTS, len(lines)))
    return (
        np.array(
            [
                [_in_use(part[:, g].ravel()) / part[:, g].size for g in range(generations)]
                for part in parts
            ]
        )
        / 16
    )


def false_positives(words: U64, lines: int, generations: int, samples: int) -> float:
    """The share of keys never sighted that the filters take for sighted, 0 to 1.

    The share is measured on the counters as they are, with `samples` random keys.
    """
    return _mistaken(words, lines, generations, samples) / samples


def false_positives_in_theory(fills: F64) -> float:
    """What `false_positives` should be, from the fills of filters (Putze et al., JEA 2009).

    i keys of a line, Poisson with mean λ, leave a counter at 0 with probability (1 - 1/128)^4i; so
    λ follows from the fill. A key finds all its 4 counters in use with probability
    Σ Poisson(i; λ) (1 - (1 - 1/128)^4i)^4. A key is in one part, and in all generations of it.
    """
    right = [math.prod(1 - _mistaken_in_theory(fill) for fill in part) for part in fills.tolist()]
    # Added one after the other: from Python 3.12 on `sum` compensates, and gives other last bits.
    return 1 - float(np.cumsum(right)[-1]) / len(right)


def _mistaken_in_theory(fill: float) -> float:
    """The chance that a new key finds its counters of one generation in use, from the fill."""
    if fill in (0, 1):
        return fill
    kept = (1 - 1 / LINE_COUNTERS) ** PROBES
    mean = -math.log1p(-fill) / (1 - kept)
    i = np.arange(1, int(mean + 12 * math.sqrt(mean)) + 12)
    chance = np.exp(i * math.log(mean) - mean - np.log(i).cumsum())
    return float(min((chance * (1 - kept**i) ** PROBES).sum(), 1))


@kernel
def _in_use(words: U64) -> int:
    """How many of the counters are not 0."""
    in_use = 0
    for word in words:
        counters = word
        for _ in range(16):
            if counters & _15 != 0:
                in_use += 1
            counters >>= _4
    return in_use


@kernel
def _mistaken(words: U64, lines: int, generations: int, samples: int) -> int:
    """How many of `samples` random keys the filters take for sighted."""
    mistaken = 0
    state = _SCATTER
    for _ in range(samples):
        # xorshift64* (Vigna, TOMS 2016)
        state ^= state >> np.uint64(12)
        state ^= state << np.uint64(25)
        state ^= state >> np.uint64(27)
        key = state * np.uint64(0x2545F4914F6CDD1D)
        start = line_of(lines, key) * generations * LINE_WORDS
        for generation in range(generations):
            if sightings(words, start + generation * LINE_WORDS, key) > 0:
                mistaken += 1
                break
    return mistaken
