"""Which features enter the table: those seen often enough, by rolling counting Bloom filters.

Or, by Poisson inclusion, each at any of its sightings with the same small probability.

Most features of click logs occur once or twice and teach nothing, so a feature is counted
outside the table first (McMahan et al., KDD 2013, section 4.1). A filter is a Bloom filter of
4-bit counters, raised conservatively (Estan and Varghese, SIGCOMM 2002) and blocked: all
counters of a feature lie in one cache line (Putze et al., JEA 2009). Several generations
roll, the oldest emptied to become the newest, so that old sightings are forgotten.

The filters never count too few, so no feature enters late; a collision may let one in early.
"""

import math
from typing import NamedTuple

import numpy as np

from ftrl.fixedpoint import ADMITTED, mix, stem
from ftrl.settings import MAX_ADMIT_AFTER, AdmissionSettings
from ftrl.table import aligned
from streams.intrinsics import prefetch
from streams.jit import I64, U64, inlined, kernel

COUNTERS_PER_FEATURE = 12  # at `capacity`, about 1% of new features find all theirs taken
PROBES = 4
LINE_WORDS = 8
LINE_COUNTERS = 128

_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Knuth's multiplicative hash
CERTAIN = np.uint64(1 << 32)
_1 = np.uint64(1)
_4 = np.uint64(4)
_7 = np.uint64(7)
_15 = np.uint64(15)
_32 = np.uint64(32)
_57 = np.uint64(57)


class Rules(NamedTuple):
    """How features are admitted; see `AdmissionSettings`.

    lines: a generation's cache lines. chance: uint64, of Poisson inclusion, in units of 2⁻³²;
    `CERTAIN` where it is not drawn for.
    """

    lines: int
    generations: int
    rotate_every: int
    admit_after: int
    chance: np.uint64


class Admission:
    """The rules, and the counters in memory.

    words: uint64 [lines * generations * 8], 16 counters a word, the generations of a line side
    by side; a key has the same line in each. Where every feature is admitted at its first
    sighting there are no counters.
    """

    def __init__(self, settings: AdmissionSettings) -> None:
        admit_after = settings.admit_after if settings.kind == "bloom" else 0
        lines = -(-settings.capacity * COUNTERS_PER_FEATURE // LINE_COUNTERS)
        poisson = settings.kind == "poisson"
        chance = np.uint64(math.ceil(settings.probability * 2**32)) if poisson else CERTAIN
        self.rules = Rules(lines, settings.generations, settings.rotate_every, admit_after, chance)
        size = lines * settings.generations * LINE_WORDS if admit_after else 0
        self.words: U64 = aligned(size, np.uint64)

    @property
    def drawn(self) -> bool:
        """Whether what enters depends on the examples' places."""
        return bool(self.rules.chance != CERTAIN)

    def fill(self) -> float:
        """The share of counters that are not 0, over all generations: 0 to 1."""
        return _taken(self.words) / max(len(self.words) * 16, 1)

    def false_positives(self, samples: int = 1 << 14) -> float:
        """The share of features never seen that the filters take for seen: 0 to 1.

        So many features enter early: by one sighting, seldom by more. Measured on the counters
        as they are, by asking for `samples` random keys.
        """
        if self.rules.admit_after == 0:
            return 0.0
        return _mistaken(self.words, self.rules, samples) / samples


@kernel
def start_example(words: U64, rules: Rules, examples: int) -> int:
    """The generation that takes the sightings of the example after `examples` others.

    Empties the oldest generation when its turn to be the newest has come.
    """
    if rules.admit_after == 0:
        return 0
    generation = examples // rules.rotate_every % rules.generations
    if examples > 0 and examples % rules.rotate_every == 0:
        for line in range(rules.lines):
            start = (line * rules.generations + generation) * LINE_WORDS
            for word in range(start, start + LINE_WORDS):
                words[word] = 0
    return generation


@inlined
def line_of(rules: Rules, key: np.uint64) -> np.int64:
    """Where in the words the line of `key` starts, in generation 0."""
    line = np.int64(((key >> _32) * np.uint64(rules.lines)) >> _32)
    return line * rules.generations * LINE_WORDS


@inlined
def sightings(words: U64, start: np.int64, key: np.uint64) -> np.int64:
    """How often `key` was sighted, at most, by the line at `start`: its least counter."""
    bits = key * _SCATTER
    least = _15
    for _ in range(PROBES):
        probe = bits >> _57
        word = words[start + np.int64(probe >> _4)]
        least = min(least, (word >> ((probe & _15) * _4)) & _15)
        bits <<= _7
    return np.int64(least)


@inlined
def sight(words: U64, start: np.int64, key: np.uint64) -> None:
    """Raise the least of the counters of `key` in the line at `start`, up to saturation."""
    least = sightings(words, start, key)
    if least == MAX_ADMIT_AFTER:
        return
    bits = key * _SCATTER
    for _ in range(PROBES):
        probe = bits >> _57
        word = start + np.int64(probe >> _4)
        place = (probe & _15) * _4
        if np.int64((words[word] >> place) & _15) == least:
            words[word] += _1 << place
        bits <<= _7


@inlined
def announce(words: U64, rules: Rules, key: np.uint64) -> None:
    """Have the lines of `key` loaded, for it may be asked for."""
    if rules.admit_after > 0:
        line = line_of(rules, key)
        for other in range(rules.generations):
            prefetch(words, line + other * LINE_WORDS)


@inlined
def admit(
    words: U64,
    rules: Rules,
    generation: int,
    here: np.uint64,
    keys: U64,
    chosen: I64,
    totals: I64,
    size: int,
) -> int:
    """Decide on one example's keys outside the table, `keys[chosen[i]]` for i < `size`.

    A key enters when this sighting is at least the (`admit_after` + 1)-th that the
    generations remember; others are counted. By Poisson inclusion it enters if a hash of it and
    of the example's `circumstances`, `here`, falls below `chance`. Keeps those that enter at the
    front of `chosen` and returns how many they are. `totals` is scratch space.
    """
    if rules.chance != CERTAIN:
        return _draw(rules, here, keys, chosen, size)
    if rules.admit_after == 0:
        return size
    for i in range(size):
        # All are looked up before any is counted, so that their cache misses overlap.
        line = line_of(rules, keys[chosen[i]])
        totals[i] = 1
        for other in range(rules.generations):
            totals[i] += sightings(words, line + other * LINE_WORDS, keys[chosen[i]])
    admitted = 0
    for i in range(size):
        key = keys[chosen[i]]
        if totals[i] > rules.admit_after:
            chosen[admitted] = chosen[i]
            admitted += 1
        else:
            sight(words, line_of(rules, key) + generation * LINE_WORDS, key)
    return admitted


@inlined
def circumstances(rules: Rules, seed: np.uint64, place: int, kind: int) -> np.uint64:
    """What Poisson inclusion depends on but for the key; 0 where nothing is drawn."""
    if rules.chance != CERTAIN:
        return stem(mix(seed, np.uint64(place)), np.uint64(ADMITTED), np.uint64(kind))
    return np.uint64(0)


@inlined
def _draw(rules: Rules, here: np.uint64, keys: U64, chosen: I64, size: int) -> int:
    admitted = 0
    for i in range(size):
        j = chosen[i]
        chosen[admitted] = j
        admitted += 1 if mix(here, keys[j]) >> _32 < rules.chance else 0
    return admitted


@kernel
def _taken(words: U64) -> int:
    taken = 0
    for word in words:
        rest = word
        for _ in range(16):
            if rest & _15 != 0:
                taken += 1
            rest >>= _4
    return taken


@kernel
def _mistaken(words: U64, rules: Rules, samples: int) -> int:
    mistaken = 0
    state = _SCATTER
    for _ in range(samples):
        # xorshift64* (Vigna, TOMS 2016)
        state ^= state >> np.uint64(12)
        state ^= state << np.uint64(25)
        state ^= state >> np.uint64(27)
        key = state * np.uint64(0x2545F4914F6CDD1D)
        for generation in range(rules.generations):
            if sightings(words, line_of(rules, key) + generation * LINE_WORDS, key) > 0:
                mistaken += 1
                break
    return mistaken
