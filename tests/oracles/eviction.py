"""What leaves the table, in plain dictionaries: stale features, and the least of a full table."""

import struct
from dataclasses import dataclass, field

from tests.oracles.ftrl import BIAS, Ftrl, Row


@dataclass
class Forgetful(Ftrl):
    """The learner of `Ftrl`, whose features leave again.

    expire_after: after how many examples a feature that was not seen leaves; 0: never. stretches:
    into how many equal ranges keys are divided. share: one of so many features scanned leaves.
    raises: after how many more sightings a feature is admitted while the table is full. full_at:
    how many features there were when one was last refused, 0 if there is plenty of room again.
    """

    expire_after: int = 0
    evicts: bool = True
    stretches: int = 2
    share: int = 2
    raises: int = 0
    full_at: int = 0
    examples: int = 0
    evicted: int = 0
    following: int = 0  # the next stretch to be scanned
    last: dict[int, int] = field(default_factory=dict)  # the example in which each was last seen

    def learn(self, row: Row) -> float:
        """Learn from a row, then let features leave; returns the logit before."""
        refused = self.refused
        counts = not (row.correction and row.kept)
        logit = super().learn(row)
        self.examples += counts
        for key, _ in row.coordinates:
            if key in self.z:
                self.last[key] = self.examples
        if self.evicts and self.refused > refused:
            self.make_room()
        if self.expire_after and counts:
            self.expire()
        return logit

    def expire(self) -> None:
        """Drop what has expired in one part of the keys, another one in every beat.

        An epoch has up to 64 beats; 8 epochs make the span.
        """
        span = max(self.expire_after // 8, 1)
        beat = max(span // 64, 1)
        beats = span // beat
        epoch = beat * beats
        if self.examples % beat:
            return
        part = self.examples // beat % beats
        first, end = self.stretches * part // beats, self.stretches * (part + 1) // beats
        for key in self.held():
            old = self.examples // epoch - self.last[key] // epoch
            if first <= self.stretch(key) < end and old * epoch > self.expire_after + epoch - 1:
                self.drop(key)
        if len(self.held()) < self.full_at * 7 / 8:
            self.full_at = 0

    def sight(self, key: int, threshold: int | None) -> None:
        """Sight a feature, with a higher threshold while the table is full."""
        if self.full_at:
            usual = self.counter.admit_after if threshold is None else threshold
            threshold = min(usual + self.raises, 15)
        super().sight(key, threshold)

    def make_room(self) -> None:
        """Drop a 64th of the features: the least of twice as many in the next stretches."""
        self.full_at = len(self.held())
        leave = max(self.full_at // 64, 1)
        scanned: list[int] = []
        for _ in range(self.stretches):
            scanned += [key for key in self.held() if self.stretch(key) == self.following]
            self.following = (self.following + 1) % self.stretches
            if len(scanned) >= leave * self.share:
                break
        highest = sorted(map(self.rank, scanned))[:leave][-1]
        for key in scanned:
            if self.rank(key) <= highest:
                self.drop(key)

    def rank(self, key: int) -> tuple[bool, int, int]:
        """A feature's worth: if it has a weight, then n to 20 bits, then the key's low half."""
        bits = struct.unpack(">Q", struct.pack(">d", self.n[key]))[0]
        return abs(self.z[key]) > self.l1, bits >> 32, key & 0xFFFFFFFF

    def held(self) -> list[int]:
        """The keys of all features."""
        return [key for key in self.z if key != BIAS]

    def stretch(self, key: int) -> int:
        """Which of the ranges a key is in."""
        return key * self.stretches >> 64

    def drop(self, key: int) -> None:
        """Take a feature out."""
        del self.z[key], self.n[key], self.last[key]
        self.evicted += 1
