"""What leaves the table, in plain dictionaries: stale features, and the least of a full table."""

import struct
from dataclasses import dataclass, field

from tests.oracles.ftrl import BIAS, Ftrl, Row


@dataclass
class Forgetful(Ftrl):
    """The learner of `Ftrl`, whose features leave again.

    expire_after: 0, or after how many examples a feature that was not seen leaves. stretches: into
    so many equal ranges keys are divided. share: one of so many features that are looked at leaves.
    raises: after how many more sightings a feature is admitted while the table is full.
    """

    expire_after: int = 0
    evicts: bool = True
    stretches: int = 2
    share: int = 2
    raises: int = 0
    full_at: int = 0  # features when one last found no room, 0 if there is plenty again
    examples: int = 0
    evicted: int = 0
    following: int = 0  # the next stretch to be looked at
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
        """In every beat another part of the keys; an epoch has up to 64 beats, 8 make the span."""
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

    def meet(self, key: int, bar: int | None) -> None:
        """As ever, with a higher bar while the table is full."""
        if self.full_at:
            bar = min((self.counter.admit_after if bar is None else bar) + self.raises, 15)
        super().meet(key, bar)

    def make_room(self) -> None:
        """A 64th of the features leaves: the least of twice as many in the next stretches."""
        self.full_at = len(self.held())
        leave = max(self.full_at // 64, 1)
        looked_at: list[int] = []
        for _ in range(self.stretches):
            looked_at += [key for key in self.held() if self.stretch(key) == self.following]
            self.following = (self.following + 1) % self.stretches
            if len(looked_at) >= leave * self.share:
                break
        bar = sorted(map(self.rank, looked_at))[:leave][-1]
        for key in looked_at:
            if self.rank(key) <= bar:
                self.drop(key)

    def rank(self, key: int) -> tuple[bool, int, int]:
        """With a weight or not; then n, to 20 bits; then the key's low half."""
        bits = struct.unpack(">Q", struct.pack(">d", self.n[key]))[0]
        return abs(self.z[key]) > self.l1, bits >> 32, key & 0xFFFFFFFF

    def held(self) -> list[int]:
        """The keys of all features."""
        return [key for key in self.z if key != BIAS]

    def stretch(self, key: int) -> int:
        """Which of the ranges a key is in."""
        return key * self.stretches >> 64

    def drop(self, key: int) -> None:
        """A feature leaves."""
        del self.z[key], self.n[key], self.last[key]
        self.evicted += 1
