"""When features leave the table again: not seen for long, or the least of a table that is full.

- Not seen for `expire_after` examples: an epoch is an eighth of that. A byte a slot holds the epoch
  in which its feature was last seen, and once an epoch every stretch of the table is looked at.
- Full: when a feature is refused, the next few stretches are looked at, as a clock's hand moves on,
  and the lowest of what is there by rank leave: those without a weight first, of these the ones
  with the least n. Where only a group is full, those of that group.

Both happen between two examples, a small part of the table at a time.
"""

import numpy as np

from ftrl.eviction.scan import BY_RANK, Rule, pass_over
from ftrl.kernels.count_codes import Tally, average, bits_of
from ftrl.settings import LearnerSettings
from ftrl.table.growing import Table
from ftrl.table.layout import GROUP
from streams.compute.arrays import I64, U64, Bool

EPOCHS = 8  # in `expire_after`
BEATS = 64  # in an epoch: at each one a part of the table is looked at
STRETCH = 64  # features, if the table is full
SHARE = 2  # one of so many that are looked at leaves
LEAVE = 64  # of a full table one of so many leaves at a time
MOST = 4096  # features that leave at a time
LEAVE_GROUP = GROUP // 8
ROOMY = 7 / 8  # of what a table held when it was full: it is not any more

_NO_RANKS: U64 = np.empty(0, np.uint64)
_NONE = np.uint64(0)


class Eviction:
    """What `settings` say about features that leave, and how far the clock's hand has come."""

    def __init__(self, settings: LearnerSettings, groups: int, tally: Tally) -> None:
        """groups: that the table's slots are in, or 0. tally: the learner's, to be read.

        full_at: how many features there were when one last found no room, 0 if since then so many
        expired that there is room again.
        """
        self._codes = bits_of(settings)
        self._tally = tally
        self.at_cap = settings.when_full == "evict"
        self.expires = settings.expire_after > 0
        span = max(settings.expire_after // EPOCHS, 1)
        self._beat = max(span // BEATS, 1)
        self._beats = span // self._beat
        self.epoch = self._beat * self._beats
        self._kept = -(-settings.expire_after // self.epoch)
        power = max((settings.max_features // STRETCH).bit_length(), 1)
        self._bits = 0 if groups else 64 - power
        self._stretches = groups or 1 << power
        self._rates = settings.alpha, settings.beta, settings.l1
        self._next = 0
        self.full_at = 0

    @property
    def is_full(self) -> bool:
        """Whether the table is full, or was a short while ago."""
        return self.full_at > 0

    @property
    def hand(self) -> int:
        """Where the next stretch to be looked at begins: its least key, or its group."""
        return self._next << self._bits

    @hand.setter
    def hand(self, value: int) -> None:
        """Go on there."""
        self._next = value >> self._bits

    def ends(self, examples: int, counted: Bool) -> I64:
        """The rows before which something expires, ascending.

        examples: learned from before the first row. counted: whether each row counts as one.
        """
        if not self.expires:
            return np.empty(0, np.int64)
        learned = examples + np.cumsum(counted)
        return np.flatnonzero(counted & (learned % self._beat == 0)) + 1

    def now(self, examples: int) -> int:
        """The epoch, modulo 256, after so many examples."""
        return examples // self.epoch & 255

    def expire(self, table: Table, examples: int) -> int:
        """Take out what was not seen for too long, in the part of the table whose turn it is.

        Returns how many features that were.
        """
        part = examples // self._beat % self._beats
        first, end = (self._stretches * i // self._beats for i in (part, part + 1))
        rule = self._rule(self._kept, self.now(examples), _NONE)
        gone = self._pass(table, rule, first, end - first)[0]
        if int(self._tally["used"][0]) - gone < self.full_at * ROOMY:
            self.full_at = 0
        return gone

    def make_room(self, table: Table, features: int) -> int:
        """Take out some of the least of a full table that holds so many `features`.

        Returns how many.
        """
        self.full_at = features
        leave = min(max(features // LEAVE, 1), MOST)
        found = self._leave(table, leave, self._next, self._stretches, leave * SHARE, features)
        self._next = (self._next + found[1]) % self._stretches
        return found[0]

    def clear_group(self, table: Table, group: int, features: int) -> int:
        """Take out the least of a full group of a table of so many `features`; returns how many."""
        self.full_at = features
        return self._leave(table, LEAVE_GROUP, group, 1, GROUP, GROUP)[0]

    def _leave(
        self, table: Table, leave: int, first: int, count: int, look_at: int, most: int
    ) -> tuple[int, int]:
        """Look at stretches until they hold `look_at` features; take out the lowest `leave`.

        most: features that can be found. Returns how many left, and the stretches looked at.
        """
        ranks: U64 = np.empty(most, np.uint64)  # takes memory only where it is written to
        judge = self._rule(BY_RANK, 0, _NONE)
        found, passed = self._pass(table, judge, first, count, ranks, look_at)
        leave = min(leave, found)
        bar = np.partition(ranks[:found], leave - 1)[leave - 1]
        gone, _ = self._pass(table, self._rule(BY_RANK, 0, bar), first, passed)
        return gone, passed

    def _rule(self, kept: int, epoch: int, bar: np.uint64) -> Rule:
        n_as = self._codes, average(self._tally)
        return Rule(self._stretches, np.uint64(self._bits), epoch, kept, bar, *n_as, *self._rates)

    @staticmethod
    def _pass(
        table: Table, rule: Rule, first: int, count: int, ranks: U64 = _NO_RANKS, enough: int = 0
    ) -> tuple[int, int]:
        slots, touched, ages = table.slots, table.touched, table.ages
        return pass_over(slots, touched, ages, table.shift, rule, first, count, ranks, enough)
