"""The metrics straight from their definitions, example by example, in plain Python."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

Z = 1.959963984540054


@dataclass(frozen=True)
class Example:
    """A prediction (logit), its label (0 or 1), its weight and event time (ms)."""

    logit: float
    label: int
    weight: float = 1.0
    ts: int = 0


def probability(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def loss(example: Example) -> float:
    """-log P(label); right for |logit| below 700."""
    return math.log1p(math.exp(example.logit if example.label == 0 else -example.logit))


def mean(examples: list[Example], value: Callable[[Example], float]) -> float:
    total = math.fsum(e.weight for e in examples)
    return math.fsum(e.weight * value(e) for e in examples) / total


def log_loss(examples: list[Example]) -> float:
    return mean(examples, loss)


def ctr(examples: list[Example]) -> float:
    return mean(examples, lambda e: e.label)


def prediction(examples: list[Example]) -> float:
    return mean(examples, lambda e: probability(e.logit))


def normalized_entropy(examples: list[Example]) -> float:
    p = ctr(examples)
    return log_loss(examples) / -(p * math.log(p) + (1 - p) * math.log(1 - p))


def auc(examples: list[Example]) -> float:
    """Every pair of a positive and a negative: won 1, tied 1/2, lost 0."""
    won = []
    pairs = []
    for a in (e for e in examples if e.label == 1):
        for b in (e for e in examples if e.label == 0):
            pairs.append(a.weight * b.weight)
            won.append(pairs[-1] * (1.0 if a.logit > b.logit else 0.5 * (a.logit == b.logit)))
    return math.fsum(won) / math.fsum(pairs)


def ranked_auc(examples: list[Example]) -> float:
    """The AUC of many examples of weight 1, from the ranks of the positives."""
    ordered = sorted(examples, key=lambda e: e.logit)
    rank_sum = 0.0
    start = 0
    while start < len(ordered):
        end = start
        while end < len(ordered) and ordered[end].logit == ordered[start].logit:
            end += 1
        rank_sum += (start + 1 + end) / 2 * sum(e.label for e in ordered[start:end])
        start = end
    positives = sum(e.label for e in examples)
    negatives = len(examples) - positives
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def entropy_error(examples: list[Example]) -> float:
    """Standard error of the normalized entropy by the infinitesimal jackknife.

    Each example's weight is nudged and the metric's slope taken numerically.
    """
    squares = []
    for i, example in enumerate(examples):
        step = 1e-5 * example.weight
        sides = []
        for nudged in (example.weight + step, example.weight - step):
            changed = [*examples[:i], replace(example, weight=nudged), *examples[i + 1 :]]
            sides.append(normalized_entropy(changed))
        squares.append((example.weight * (sides[0] - sides[1]) / (2 * step)) ** 2)
    return math.sqrt(math.fsum(squares))


def effective(examples: list[Example]) -> float:
    """How many examples of equal weight would tell as much about the CTR."""
    p = ctr(examples)
    total = math.fsum(e.weight for e in examples)
    if p in (0.0, 1.0):
        return total**2 / math.fsum(e.weight**2 for e in examples)
    variance = math.fsum((e.weight * (e.label - p)) ** 2 for e in examples) / total**2
    return p * (1 - p) / variance


def wilson(observed: float, n: float) -> tuple[float, float]:
    """The rates π with |observed - π| = Z √(π (1 - π) / n), found by bisection."""

    def outside(rate: float) -> bool:
        return abs(observed - rate) > Z * math.sqrt(rate * (1 - rate) / n)

    def search(inner: float, outer: float) -> float:
        for _ in range(200):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if outside(middle) else (middle, outer)
        return (inner + outer) / 2

    return search(observed, 0.0), search(observed, 1.0)


def split(examples: list[Example], parts: int) -> list[list[Example]]:
    """Ascending by logit, cut into parts of equal weight; an example may be cut in two."""
    total = math.fsum(e.weight for e in examples)
    groups: list[list[Example]] = [[] for _ in range(parts)]
    done = 0.0
    for e in sorted(examples, key=lambda e: e.logit):
        for part, group in enumerate(groups):
            low, high = total * part / parts, total * (part + 1) / parts
            weight = min(done + e.weight, high) - max(done, low)
            if weight > 1e-12 * total:
                group.append(replace(e, weight=weight))
        done += e.weight
    return groups


def by_time(examples: list[Example], width: int, limit: int) -> tuple[int, list[list[Example]]]:
    """The width, doubled until `limit` buckets hold all, and the buckets, oldest first."""
    while len({e.ts // width for e in examples}) > limit:
        width *= 2
    keys = sorted({e.ts // width for e in examples})
    return width, [[e for e in examples if e.ts // width == key] for key in keys]
