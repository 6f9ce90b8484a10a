"""How the admission filters forget: generations that roll, by a sweep over their lines.

While a generation lasts, the sweep goes once over the lines, a few at each example. In each line it
empties the oldest generation, which is the newest from then on. So learning never pauses, and every
feature's sightings are remembered for equally long. How far the sweep has come tells which
generation of a line is its newest.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ftrl.admission.bloom import LINE_WORDS, empty
from streams.compute.arrays import U64
from streams.compute.jit import inlined, kernel

CERTAIN = np.uint64(1 << 32)
CONTROL = 32  # lines that share one line of the control filters

PROGRESS = np.dtype(
    [
        ("round", np.int64),
        ("line", np.int64),
        ("newest", np.int64),
        ("clock", np.int64),
        ("due", np.int64),
        ("held", np.float64),
        ("early", np.float64),
    ]
)
Progress = npt.NDArray[np.void]


class AdmissionRules(NamedTuple):
    """How features are admitted; see `AdmissionSettings`.

    lines: a generation's cache lines. every: how long a generation lasts, in examples or, if
    `by_time`, milliseconds. pace: lines / every. step: lines that are emptied at an example, at
    most. admit_after: after how many sightings a feature enters. raised: by how much that is more
    than usual; the thresholds of fields are raised by it too. chance: uint64, of Poisson inclusion,
    in units of 2⁻³²; `CERTAIN` under other kinds of admission.
    """

    lines: int
    generations: int
    every: int
    by_time: bool
    pace: float
    step: int
    admit_after: int
    raised: int
    chance: np.uint64


class Filters(NamedTuple):
    """The admission filters as kernels take them.

    words: uint64, 16 counters a word, [lines * generations * 8], the generations of a line side by
    side; then the control filters, one line for 32. [0] where nothing is counted. progress: one
    record of type `PROGRESS`.
    """

    words: U64
    rules: AdmissionRules
    progress: Progress


def first_progress() -> Progress:
    """The sweep before the first example: one record of type `PROGRESS`.

    round: how often the sweep has gone over all lines, -1 before the first example. line: the one
    that the sweep comes to next. newest: the generation that the sweep empties, hence the newest of
    the lines before `line`; of the other lines the newest is the generation before. clock: the
    greatest event time, ms, where filters rotate by time. due: when the sweep has to go on, at the
    earliest; 0 is always right. held, early: the sightings that the control filters say to hold
    back, and how many of these the filters let in; a generation counts half as much as the one
    after it.
    """
    progress = np.zeros(1, PROGRESS)
    progress["round"] = -1
    return progress


@inlined
def start_example(filters: Filters, examples: int, ts: int) -> None:
    """Empty the lines whose turn has come.

    examples: how many came before this one. ts: the event time of this one, ms.
    """
    progress = filters.progress
    if len(filters.words) > 0:
        now = examples
        if filters.rules.by_time:
            now = max(ts, progress[0]["clock"])
            progress[0]["clock"] = now
        if now >= progress[0]["due"]:
            _sweep(filters.words, filters.rules, progress, now)


@kernel
def _sweep(words: U64, rules: AdmissionRules, progress: Progress, now: int) -> None:
    """Move on to where the sweep should be `now`, in examples or ms.

    When the event time leaps, the sweep catches up over the next examples. Of a long leap only the
    last rounds matter, for they empty every generation of every line.
    """
    lines, generations = rules.lines, rules.generations
    term = now // rules.every
    target = np.int64((now - term * rules.every) * rules.pace)
    if progress[0]["round"] < 0:
        progress[0]["round"] = term
        progress[0]["line"] = target
        progress[0]["newest"] = term % generations
    line = progress[0]["line"]
    behind = (term - progress[0]["round"]) * lines + target - line
    if behind > 2 * lines * generations:
        skipped = (behind // (lines * generations) - 1) * generations
        progress[0]["round"] += skipped
        behind -= skipped * lines
    for _ in range(min(behind, rules.step)):
        generation = progress[0]["newest"]
        empty(words, (line * generations + generation) * LINE_WORDS)
        if line % CONTROL == 0:
            control = lines + line // CONTROL
            empty(words, (control * generations + generation) * LINE_WORDS)
        line += 1
        if line == lines:
            line = 0
            progress[0]["round"] += 1
            progress[0]["newest"] = (generation + 1) % generations
            progress[0]["held"] *= 0.5
            progress[0]["early"] *= 0.5
    progress[0]["line"] = line
    # The next line's turn, less a unit for what the division may round.
    next_turn = np.int64((line + 1) / rules.pace) - 1
    progress[0]["due"] = progress[0]["round"] * rules.every + next_turn
