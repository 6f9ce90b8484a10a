"""Which features enter the table: those seen often enough, by rolling counting Bloom filters.

Under Poisson inclusion each feature enters at any of its sightings with the same small probability
instead.

Most features of click logs occur once or twice and teach nothing, so a feature is counted outside
the table first (McMahan et al., KDD 2013, section 4.1), by the filters of `ftrl.admission.bloom`.
Several generations roll, the oldest emptied to become the newest, so that old sightings are
forgotten (`ftrl.admission.generations`).

The filters never count too few sightings, so no feature enters late; a collision may let a feature
in early. How often that happens is measured all the time: one feature in 128 is counted a second
time, in control filters of four times the room, which hardly ever err.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ftrl.admission import bloom
from ftrl.admission.bloom import LINE_BYTES, LINE_WORDS, line_of, sight, sightings
from ftrl.admission.generations import CERTAIN, CONTROL, AdmissionRules, Filters, first_progress
from ftrl.settings import MAX_ADMIT_AFTER, AdmissionSettings
from ftrl.table.rng import ADMITTED, mix, row_context
from streams.compute.aligned import aligned
from streams.compute.arrays import F64, I64, U8, U64
from streams.compute.intrinsics import prefetch
from streams.compute.jit import inlined, kernel

MIB = 1 << 20

_SAVED = ("round", "line", "newest", "clock", "held", "early")
_CONTROLLED = np.uint64(127)  # of a key: all 0 in those that are counted twice
_OTHER = np.uint64(0xC2B2AE3D27D4EB4F)  # mixed with a key, so that it has other control counters
_32 = np.uint64(32)


class Admission:
    """The rules, and the filters in memory.

    words, progress: see `Filters`.
    """

    def __init__(self, settings: AdmissionSettings) -> None:
        """Filters of the size that `settings` say, empty."""
        generations, by_time = settings.generations, settings.rotate_period > 0
        every = settings.rotate_period if by_time else settings.rotate_every
        room = int(settings.memory * MIB / (LINE_BYTES * generations))
        lines = max(room * CONTROL // (CONTROL + 1), 1)
        poisson = settings.kind == "poisson"
        chance = np.uint64(math.ceil(settings.probability * 2**32)) if poisson else CERTAIN
        self.rules = AdmissionRules(
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
        self.progress = first_progress()

    def filters(self, *, full: bool = False) -> Filters:
        """The filters as kernels take them, under the rules for a table that is full, or is not."""
        return Filters(self.words, self._at_cap if full else self.rules, self.progress)

    @property
    def drawn(self) -> bool:
        """Whether a feature's admission depends on the examples' places."""
        return bool(self.rules.chance != CERTAIN)

    @property
    def timed(self) -> bool:
        """Whether a feature's admission depends on the examples' event times."""
        return self.rules.by_time and len(self.words) > 0

    def fill(self) -> float:
        """The share of counters that are not 0, over all generations: 0 to 1."""
        return float(np.mean(self._fills())) if len(self.words) else 0.0

    def false_positives(self, samples: int = 1 << 14) -> float:
        """The share of features never seen that the filters take for seen: 0 to 1.

        The share is measured on the counters as they are, with `samples` random keys.
        """
        lines, generations = self.rules.lines, self.rules.generations
        if len(self.words) == 0:
            return 0.0
        return bloom.false_positives(self._main(), lines, generations, samples)

    def false_positives_in_theory(self) -> float:
        """What `false_positives` should be with so many counters in use, 0 to 1."""
        if len(self.words) == 0:
            return 0.0
        return bloom.false_positives_in_theory(self._fills())

    def false_admissions(self) -> float:
        """Of the sightings that should be held back, the share let in, an estimate: 0 to 1.

        The estimate is from one feature in 128; the last generations weigh most.
        """
        held = float(self.progress["held"][0])
        return float(self.progress["early"][0]) / held if held else 0.0

    def state(self) -> dict[str, npt.NDArray[Any] | float | int]:
        """The counters and the progress of the sweep, copied."""
        return {
            **{name: self.progress[name][0].item() for name in _SAVED},
            "generations": self.rules.generations,
            "rotate_every": 0 if self.rules.by_time else self.rules.every,
            "rotate_period": self.rules.every if self.rules.by_time else 0,
            "filters": self.words.copy(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the filters that `state` was taken of; filters of another shape stay empty."""
        present = self.state()
        shape = ("generations", "rotate_every", "rotate_period")
        same = all(present[name] == state.get(name) for name in shape)
        if same and len(state["filters"]) == len(self.words):
            self.words[:] = state["filters"]
            for name in _SAVED:
                self.progress[name] = state[name]

    def _main(self) -> U64:
        return self.words[: self.rules.lines * self.rules.generations * LINE_WORDS]

    def _fills(self) -> F64:
        return bloom.fills(self._main(), self.rules.generations)


class RowThresholds(NamedTuple):
    """The admission thresholds of a batch's coordinates, and where an example's begin.

    thresholds: uint8 [nnz], after how many sightings each is admitted, or [0] where all have the
    same. keys: uint64 [nnz]. first: the example's first coordinate.
    """

    thresholds: U8
    keys: U64
    first: int


class Candidates(NamedTuple):
    """An example's keys outside the table: `keys[chosen[i]]` for i < `size`, each once.

    totals: int64, space for how often each was sighted.
    """

    keys: U64
    chosen: I64
    totals: I64
    size: int


@inlined
def prefetch_lines(filters: Filters, key: np.uint64) -> None:
    """Load the lines of `key`, which may soon be counted."""
    if len(filters.words) > 0:
        generations = filters.rules.generations
        first = line_of(filters.rules.lines, key) * generations
        for generation in range(generations):
            prefetch(filters.words, (first + generation) * LINE_WORDS)


@inlined
def remembered(words: U64, generations: int, line: int | np.int64, key: np.uint64) -> np.int64:
    """How often all generations of a line have sighted `key`, at most."""
    total = np.int64(0)
    for generation in range(generations):
        total += sightings(words, (line * generations + generation) * LINE_WORDS, key)
    return total


@inlined
def newest_of(filters: Filters, line: int | np.int64) -> int:
    """The generation of a line that counts its sightings now: the one emptied last."""
    progress = filters.progress
    newest: int = progress[0]["newest"] - (0 if line < progress[0]["line"] else 1)
    return newest if newest >= 0 else filters.rules.generations - 1


@inlined
def admit(filters: Filters, context: np.uint64, candidates: Candidates, row: RowThresholds) -> int:
    """Decide which candidates enter, and count the sightings of the others.

    A key enters when this sighting is at least the (threshold + 1)-th that the generations
    remember. By Poisson inclusion a key enters if a hash of the key and of the example's `context`
    falls below `chance`. Moves the keys that enter to the front of `chosen` and returns how many
    they are.
    """
    words, rules = filters.words, filters.rules
    keys, chosen, totals = candidates.keys, candidates.chosen, candidates.totals
    if rules.chance != CERTAIN:
        return _draw(rules, context, candidates)
    if len(words) == 0:
        return candidates.size
    lines, generations = rules.lines, rules.generations
    controlled = 0
    for i in range(candidates.size):
        # All keys are looked up before any is counted, so that their cache misses overlap.
        key = keys[chosen[i]]
        totals[i] = 1 + remembered(words, generations, line_of(lines, key), key)
        controlled += 1 if key & _CONTROLLED == 0 else 0
    if len(row.thresholds) > 0:
        _add_head_starts(rules, candidates, row)
    if controlled > 0:
        _control(filters, candidates)
    admitted = 0
    for i in range(candidates.size):
        key = keys[chosen[i]]
        if totals[i] > rules.admit_after:
            chosen[admitted] = chosen[i]
            admitted += 1
        else:
            line = line_of(lines, key)
            sight(words, (line * generations + newest_of(filters, line)) * LINE_WORDS, key)
    return admitted


@kernel
def _add_head_starts(rules: AdmissionRules, candidates: Candidates, row: RowThresholds) -> None:
    """Add to each key's total how much lower than `admit_after` its own threshold is.

    The candidates stand in the order in which the example has them; a key that occurs twice in the
    example has the first of its thresholds.
    """
    keys, chosen = candidates.keys, candidates.chosen
    coordinate = row.first
    for i in range(candidates.size):
        while row.keys[coordinate] != keys[chosen[i]]:
            coordinate += 1
        raised = np.int64(row.thresholds[coordinate]) + rules.raised
        candidates.totals[i] += rules.admit_after - np.minimum(raised, MAX_ADMIT_AFTER)


@kernel
def _control(filters: Filters, candidates: Candidates) -> None:
    """Count how many of the candidates the filters let in too early, by the control filters.

    `totals[i]` says how often a key was sighted, its head start included.
    """
    words, rules, progress = filters.words, filters.rules, filters.progress
    keys, chosen, totals = candidates.keys, candidates.chosen, candidates.totals
    lines, generations = rules.lines, rules.generations
    for i in range(candidates.size):
        key = keys[chosen[i]]
        if key & _CONTROLLED != 0:
            continue
        line, control_key = line_of(lines, key), mix(_OTHER, key)
        control = lines + line // CONTROL
        head_start = totals[i] - remembered(words, generations, line, key)
        counted = remembered(words, generations, control, control_key)
        if head_start + counted > rules.admit_after:
            continue
        progress[0]["held"] += 1.0
        if totals[i] > rules.admit_after:
            progress[0]["early"] += 1.0
        else:
            start = (control * generations + newest_of(filters, line)) * LINE_WORDS
            sight(words, start, control_key)


@inlined
def admission_context(rules: AdmissionRules, seed: np.uint64, place: int, kind: int) -> np.uint64:
    """The rng context of a row's Poisson inclusion; 0 under other kinds of admission."""
    if rules.chance != CERTAIN:
        return row_context(seed, place, ADMITTED, kind)
    return np.uint64(0)


@inlined
def _draw(rules: AdmissionRules, context: np.uint64, candidates: Candidates) -> int:
    """Decide by Poisson inclusion; see `admit`."""
    keys, chosen = candidates.keys, candidates.chosen
    admitted = 0
    for i in range(candidates.size):
        j = chosen[i]
        chosen[admitted] = j
        admitted += 1 if mix(context, keys[j]) >> _32 < rules.chance else 0
    return admitted
