"""FTRL-Proximal in plain floats and dictionaries, line by line from the paper.

McMahan et al., KDD 2013, Algorithm 1, plus the weights ω of section 4.6, corrections, and the
rates by counts of section 4.5.
"""

from dataclasses import dataclass, field
from math import exp, sqrt

from tests.oracles.counter import ExactCounter

BIAS = -1  # no feature's key


@dataclass(frozen=True)
class Row:
    """One labelled example; see `Learner.learn` for what the members mean."""

    coordinates: tuple[tuple[int, float], ...]
    label: int = 0
    offset: float = 0.0
    weight: float = 1.0
    rate: float = 1.0
    correction: bool = False
    kept: bool = True
    ts: int = 0
    thresholds: tuple[int, ...] | None = None


@dataclass
class Ftrl:
    """The learner, one row at a time; `counter` admits features, up to `max_features`.

    counts: rates of all but the bias go by counts. Then `clicked` has P of every key, `ignored` has
    N, and n is computed from both; `sampled` has the r of each negative learned from.
    """

    alpha: float = 0.1
    beta: float = 1.0
    l1: float = 1.0
    l2: float = 0.0
    counts: bool = False
    max_features: int = 10**9
    counter: ExactCounter = field(default_factory=lambda: ExactCounter(0, 1, 10**9))
    z: dict[int, float] = field(default_factory=lambda: {BIAS: 0.0})
    n: dict[int, float] = field(default_factory=lambda: {BIAS: 0.0})
    refused: int = 0
    clicked: dict[int, float] = field(default_factory=dict)
    ignored: dict[int, float] = field(default_factory=dict)
    sampled: list[float] = field(default_factory=list)

    def squares(self, key: int) -> float:
        """Σg² of the coordinate, or about that from its counts."""
        if not self.counts or key == BIAS:
            return self.n[key]
        P, N = self.clicked.get(key, 0.0), self.ignored.get(key, 0.0)
        if P + N == 0:
            return 0.0
        stand_for = sum(1 / r for r in self.sampled)
        r = stand_for / sum(1 / r**2 for r in self.sampled) if self.sampled else 1.0
        return P * N * (N + P / r) / (P + N) ** 2

    def weight(self, key: int) -> float:
        """The coordinate's weight; 0 if the table does not hold it."""
        if key not in self.z:
            return 0.0
        z, n = self.z[key], self.squares(key)
        l1 = 0.0 if key == BIAS else self.l1
        if abs(z) <= l1:
            return 0.0
        sign = 1 if z > 0 else -1
        return -(z - sign * l1) / ((self.beta + sqrt(n)) / self.alpha + self.l2)

    def predict(self, row: Row) -> float:
        """The row's logit."""
        x = [*row.coordinates, (BIAS, 1.0)]
        return row.offset + sum(self.weight(key) * value for key, value in x)

    def learn(self, row: Row) -> float:
        """Learn from a row; returns its logit before."""
        x: dict[int, float] = {}
        for key, value in row.coordinates:
            x[key] = x.get(key, 0.0) + value
        if not (row.correction and row.kept):
            self.counter.start_example(row.ts)
            thresholds: dict[int, int] = {}
            for (key, _), threshold in zip(row.coordinates, row.thresholds or (), strict=False):
                thresholds.setdefault(key, threshold)
            for key in x:
                self.sight(key, thresholds.get(key))
        x[BIAS] = 1.0

        if row.correction and row.kept and row.rate in self.sampled:
            self.sampled.remove(row.rate)
        elif not row.correction and row.label == 0:
            self.sampled.append(row.rate)
        logit = row.offset + sum(self.weight(key) * value for key, value in x.items())
        p = 1 / (1 + exp(-logit)) if logit > -700 else 0.0
        for key, value in x.items():
            if key not in self.z:
                continue
            positive = row.weight * (p - 1) * value
            negative = row.weight / row.rate * p * value
            if not row.correction:
                g = n_slope = positive if row.label == 1 else negative
            elif row.kept:
                g, n_slope = positive - negative, positive
            else:
                g = n_slope = positive
            w, n = self.weight(key), self.squares(key)
            self.n[key] += n_slope * n_slope
            self.count(key, row, (row.weight * value) ** 2)
            sigma = (sqrt(self.squares(key)) - sqrt(n)) / self.alpha
            self.z[key] += g - sigma * w
        return logit

    def count(self, key: int, row: Row, times: float) -> None:
        """Count an example that has the coordinate, so many times."""
        positives, negatives = self.clicked.get(key, 0.0), self.ignored.get(key, 0.0)
        if row.label == 1 or row.correction:
            self.clicked[key] = positives + times
            if row.correction and row.kept:
                self.ignored[key] = max(negatives - times / row.rate, 0.0)
        else:
            self.ignored[key] = negatives + times / row.rate

    def sight(self, key: int, threshold: int | None) -> None:
        """Sight a feature; admit it to the table if it is new and due."""
        if key in self.z or not self.counter.admits(key, threshold):
            return
        if len(self.z) - 1 >= self.max_features:
            self.refused += 1
            return
        self.z[key] = self.n[key] = 0.0
