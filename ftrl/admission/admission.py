"""Which features enter the table: those seen often enough, by rolling counting Bloom filters.

Or, by Poisson inclusion, each at any of its sightings with the same small probability.

Most features of click logs occur once or twice and teach nothing, so a feature is counted outside
the table first (McMahan et al., KDD 2013, section 4.1), by the filters of `ftrl.admission.bloom`.
Several generations roll, the oldest emptied to become the newest, so that old sightings are
forgotten (`ftrl.admission.generations`).

The filters never count too few, so no feature enters late; a collision may let one in early. How
often is measured all the time: one feature in 128 is counted a second time, in filters of four
times the room, which hardly ever err.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ftrl.admission import bloom
from ftrl.admission.bloom import LINE_BYTES, LINE_WORDS, line_of, sight, sightings
from ftrl.admission.generations import CERTAIN, CONTROL, Progress, Rules, begin
from ftrl.settings import MAX_ADMIT_AFTER, AdmissionSettings
from ftrl.table.fixedpoint import ADMITTED, mix, stem
from ftrl.table.layout import aligned
from streams.compute.arrays import F64, I64, U8, U64
from streams.compute.intrinsics import prefetch
from streams.compute.jit import inlined, kernel

MIB = 1 << 20

_SAVED = ("round", "line", "newest", "clock", "held", "early")
_CONTROLLED = np.uint64(127)  # of a key: all 0 in those that are counted twice
_OTHER = np.uint64(0xC2B2AE3D27D4EB4F)  # so that the control's counters are others
_32 = np.uint64(32)


class Admission:
    """The rules, and the counters in memory.

    words: uint64, 16 counters a word, [lines * generations * 8], the generations of a line side by
    side; then the control filters, one line for 32. Where nothing is counted there are no words.
    """

    def __init__(self, settings: AdmissionSettings) -> None:
        generations, by_time = settings.generations, settings.rotate_period > 0
        every = settings.rotate_period if by_time else settings.rotate_every
        room = int(settings.memory * MIB / (LINE_BYTES * generations))
        lines = max(room * CONTROL // (CONTROL + 1), 1)
        poisson = settings.kind == "poisson"
        chance = np.uint64(math.ceil(settings.probability * 2**32)) if poisson else CERTAIN
        self.rules = Rules(
            lines=lines,
            generations=generations,
            every=every,
            by_time=by_time,
            pace=lines / every,
            step=max(lines // 64, 1024) if by_time else -(-lines // every) + 1,
            admit_after=settings.admit_after,
            raised=0,
            chance=chance,
        )
        self._at_cap = self.rules._replace(
            admit_after=min(settings.admit_after + settings.raise_at_cap, MAX_ADMIT_AFTER),
            raised=settings.raise_at_cap,
        )
        counts = settings.kind == "bloom" and settings.highest > 0
        size = lines + -(-lines // CONTROL) if counts else 0
        self.words: U64 = aligned(size * generations * LINE_WORDS, np.uint64)
        self.progress = begin()

    def rules_at(self, full: bool) -> Rules:
        """The rules while the table is full, or while it is not."""
        return self._at_cap if full else self.rules

    @property
    def drawn(self) -> bool:
        """Whether what enters depends on the examples' places."""
        return bool(self.rules.chance != CERTAIN)

    @property
    def timed(self) -> bool:
        """Whether what enters depends on the examples' event times."""
        return self.rules.by_time and len(self.words) > 0

    def fill(self) -> float:
        """The share of counters that are not 0, over all generations: 0 to 1."""
        return float(np.mean(self._fills())) if len(self.words) else 0.0

    def false_positives(self, samples: int = 1 << 14) -> float:
        """The share of features never seen that the filters take for seen: 0 to 1.

        Measured on the counters as they are, by asking for `samples` random keys.
        """
        lines, generations = self.rules.lines, self.rules.generations
        if len(self.words) == 0:
            return 0.0
        return bloom.false_positives(self._main(), lines, generations, samples)

    def false_positives_in_theory(self) -> float:
        """The same as it should be with so many counters in use, 0 to 1."""
        if len(self.words) == 0:
            return 0.0
        return bloom.false_positives_in_theory(self._fills())

    def false_admissions(self) -> float:
        """Of the sightings that should be held back, the share let in, an estimate: 0 to 1.

        From one feature in 128, those of the last generations before others.
        """
        held = float(self.progress["held"][0])
        return float(self.progress["early"][0]) / held if held else 0.0

    def state(self) -> dict[str, npt.NDArray[Any] | float | int]:
        """All that it has come to, copied."""
        return {
            **{name: self.progress[name][0].item() for name in _SAVED},
            "generations": self.rules.generations,
            "rotate_every": 0 if self.rules.by_time else self.rules.every,
            "rotate_period": self.rules.every if self.rules.by_time else 0,
            "filters": self.words.copy(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` was taken from; filters of another shape stay empty."""
        mine = self.state()
        shape = ("generations", "rotate_every", "rotate_period")
        same = all(mine[name] == state.get(name) for name in shape)
        if same and len(state["filters"]) == len(self.words):
            self.words[:] = state["filters"]
            for name in _SAVED:
                self.progress[name] = state[name]

    def _main(self) -> U64:
        return self.words[: self.rules.lines * self.rules.generations * LINE_WORDS]

    def _fills(self) -> F64:
        return bloom.fills(self._main(), self.rules.generations)


@inlined
def announce(words: U64, rules: Rules, key: np.uint64) -> None:
    """Have the lines of `key` loaded, for it may be asked for."""
    if len(words) > 0:
        line = line_of(rules.lines, key) * rules.generations
        for other in range(rules.generations):
            prefetch(words, (line + other) * LINE_WORDS)


@inlined
def remembered(words: U64, generations: int, line: int | np.int64, key: np.uint64) -> np.int64:
    """How often all generations of a line have sighted `key`, at most."""
    total = np.int64(0)
    for other in range(generations):
        total += sightings(words, (line * generations + other) * LINE_WORDS, key)
    return total


@inlined
def newest_of(rules: Rules, progress: Progress, line: int | np.int64) -> int:
    """The generation of a line that takes its sightings now: the one emptied last."""
    newest: int = progress[0]["newest"] - (0 if line < progress[0]["line"] else 1)
    return newest if newest >= 0 else rules.generations - 1


@inlined
def admit(
    words: U64,
    rules: Rules,
    progress: Progress,
    here: np.uint64,
    bars: U8,
    row: U64,
    first: int,
    keys: U64,
    chosen: I64,
    totals: I64,
    size: int,
) -> int:
    """Decide on one example's keys outside the table, `keys[chosen[i]]` for i < `size`.

    A key enters when this sighting is at least the (`admit_after` + 1)-th that the generations
    remember; others are counted. `bars`, if there are any, say after how many the keys of `row`,
    the batch's, enter; the example's are those from `first` on. By Poisson inclusion a key enters
    if a hash of it and of the example's `circumstances`, `here`, falls below `chance`. Keeps those
    that enter at the front of `chosen` and returns how many they are. `totals` is scratch space.
    """
    if rules.chance != CERTAIN:
        return _draw(rules, here, keys, chosen, size)
    if len(words) == 0:
        return size
    lines, generations = rules.lines, rules.generations
    controlled = 0
    for i in range(size):
        # All are looked up before any is counted, so that their cache misses overlap.
        key = keys[chosen[i]]
        totals[i] = 1 + remembered(words, generations, line_of(lines, key), key)
        controlled += 1 if key & _CONTROLLED == 0 else 0
    if len(bars) > 0:
        _head_starts(rules, bars, row, first, keys, chosen, totals, size)
    if controlled > 0:
        _control(words, rules, progress, keys, chosen, totals, size)
    admitted = 0
    for i in range(size):
        key = keys[chosen[i]]
        if totals[i] > rules.admit_after:
            chosen[admitted] = chosen[i]
            admitted += 1
        else:
            line = line_of(lines, key)
            generation = newest_of(rules, progress, line)
            sight(words, (line * generations + generation) * LINE_WORDS, key)
    return admitted


@kernel
def _head_starts(
    rules: Rules, bars: U8, row: U64, first: int, keys: U64, chosen: I64, totals: I64, size: int
) -> None:
    """Add to `totals` how much lower than `admit_after` the thresholds of an example's keys are.

    Arguments as of `admit`. The keys stand in the order in which `row` has them; one that occurs
    twice there has its first threshold.
    """
    at = first
    for i in range(size):
        while row[at] != keys[chosen[i]]:
            at += 1
        bar = np.minimum(np.int64(bars[at]) + rules.raised, MAX_ADMIT_AFTER)
        totals[i] += rules.admit_after - bar


@kernel
def _control(
    words: U64, rules: Rules, progress: Progress, keys: U64, chosen: I64, totals: I64, size: int
) -> None:
    """Note which of an example's keys are let in too early, by filters that hardly ever err.

    Arguments as of `admit`; `totals[i]` says how often a key was sighted, head start included.
    """
    lines, generations = rules.lines, rules.generations
    for i in range(size):
        key = keys[chosen[i]]
        if key & _CONTROLLED != 0:
            continue
        line, other = line_of(lines, key), mix(_OTHER, key)
        control = lines + line // CONTROL
        ahead = totals[i] - remembered(words, generations, line, key)
        if ahead + remembered(words, generations, control, other) > rules.admit_after:
            continue
        progress[0]["held"] += 1.0
        if totals[i] > rules.admit_after:
            progress[0]["early"] += 1.0
        else:
            generation = newest_of(rules, progress, line)
            sight(words, (control * generations + generation) * LINE_WORDS, other)


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
