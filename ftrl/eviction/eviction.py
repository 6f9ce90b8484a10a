"""When features leave the table again: not seen for long, or the least of a table that is full.

- A feature expires that was not seen for `expire_after` examples. An epoch is an eighth of that. A
  byte a slot holds the epoch in which the slot's feature was last seen, and once an epoch every
  stretch of the table is scanned (`ftrl.eviction.scan`).
- A table is full when a feature is refused. Then the next few stretches are scanned, as a clock's
  hand moves on, and the features of the lowest rank there leave: those without a weight first, of
  these the ones with the least n. Where only a bucket is full, features of that bucket leave.

Both happen between two examples, a small part of the table at a time.
"""

import numpy as np

from ftrl.eviction.scan import BY_RANK, EvictionRule, scan
from ftrl.kernels.arguments import Rates
from ftrl.kernels.count_codes import Tally, average, bits_of
from ftrl.kernels.slot_codec import SlotCodec
from ftrl.settings import LearnerSettings
from ftrl.table.growing import Table
from ftrl.table.layout import BUCKET
from streams.compute.arrays import I64, U64, Bool

EPOCHS = 8  # in `expire_after`
BEATS = 64  # in an epoch: at each beat a part of the table is scanned
STRETCH = 64  # features, if the table is full
SHARE = 2  # one of so many features that are scanned leaves
LEAVE = 64  # of a full table one of so many features leaves at a time
MOST = 4096  # features that leave at a time
LEAVE_BUCKET = BUCKET // 8  # features that leave a full bucket
ROOMY = 7 / 8  # a table is full no longer when it holds less than this share of what it held then

_NO_RANKS: U64 = np.empty(0, np.uint64)
_NO_RANK = np.uint64(0)


class Eviction:
    """What `settings` say about features that leave, and how far the clock's hand has come.

    full_at: how many features there were when one was last refused; 0 if there is room again,
    because so many have expired since.
    """

    def __init__(self, settings: LearnerSettings, buckets: int, tally: Tally) -> None:
        """buckets: that the table's slots are in, or 0. tally: the learner's, which is read."""
        self._bits_of_codes = bits_of(settings)
        self._tally = tally
        self.at_cap = settings.when_full == "evict"
        self.expires = settings.expire_after > 0
        span = max(settings.expire_after // EPOCHS, 1)
        self._beat = max(span // BEATS, 1)
        self._beats = span // self._beat
        self.epoch = self._beat * self._beats
        self._kept = -(-settings.expire_after // self.epoch)
        power = max((settings.max_features // STRETCH).bit_length(), 1)
        self._bits = 0 if buckets else 64 - power
        self._stretches = buckets or 1 << power
        self._rates = Rates(settings.alpha, settings.beta, settings.l1, settings.l2)
        self._next = 0
        self.full_at = 0

    @property
    def is_full(self) -> bool:
        """Whether the table is full, or was a short while ago."""
        return self.full_at > 0

    @property
    def hand(self) -> int:
        """Where the next stretch to be scanned begins: its least key, or its bucket."""
        return self._next << self._bits

    @hand.setter
    def hand(self, value: int) -> None:
        """Move the hand to where a saved one was."""
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
        """Take out the features that have expired, in the part of the table whose turn it is.

        Returns how many left.
        """
        part = examples // self._beat % self._beats
        first, end = (self._stretches * i // self._beats for i in (part, part + 1))
        rule = self._rule(self._kept, self.now(examples), _NO_RANK)
        left, _ = scan(table.arrays, rule, first, end - first, _NO_RANKS, 0)
        if int(self._tally["used"][0]) - left < self.full_at * ROOMY:
            self.full_at = 0
        return left

    def make_room(self, table: Table, features: int) -> int:
        """Take out some of the features of lowest rank; returns how many.

        table: full. features: how many it holds.
        """
        self.full_at = features
        leave = min(max(features // LEAVE, 1), MOST)
        left, scanned = self._evict(
            table, leave, self._next, self._stretches, leave * SHARE, features
        )
        self._next = (self._next + scanned) % self._stretches
        return left

    def clear_bucket(self, table: Table, bucket: int, features: int) -> int:
        """Take out the features of lowest rank of a full bucket; returns how many.

        features: how many the whole table holds.
        """
        self.full_at = features
        return self._evict(table, LEAVE_BUCKET, bucket, 1, BUCKET, BUCKET)[0]

    def _evict(
        self, table: Table, leave: int, first: int, count: int, enough: int, most: int
    ) -> tuple[int, int]:
        """Scan stretches until they hold `enough` features; take out the `leave` lowest of these.

        first: the stretch to begin with. count: how many stretches there are. most: features that
        can be found. Returns how many left, and how many stretches were scanned.
        """
        ranks: U64 = np.empty(most, np.uint64)  # takes memory only where it is written to
        by_rank = self._rule(BY_RANK, 0, _NO_RANK)
        found, scanned = scan(table.arrays, by_rank, first, count, ranks, enough)
        leave = min(leave, found)
        highest = np.partition(ranks[:found], leave - 1)[leave - 1]
        lowest = self._rule(BY_RANK, 0, highest)
        left, _ = scan(table.arrays, lowest, first, scanned, _NO_RANKS, 0)
        return left, scanned

    def _rule(self, kept: int, epoch: int, highest: np.uint64) -> EvictionRule:
        codec = SlotCodec(self._bits_of_codes, average(self._tally), self._rates)
        return EvictionRule(self._stretches, np.uint64(self._bits), epoch, kept, highest, codec)
