"""What a small table costs on a stream of millions of ids: `python -m benchmarks.capped`.

The ids are those of a market: seven fields whose k-th value comes in proportion to 1/k and is
replaced by a new one after a while, and two whose values hardly ever come twice. The same examples
are learned without a cap, with one, and with one where further features are refused. Prints, for
each, normalized entropy and its difference to the first, and the table's size when it was largest.
Exits with 1 if the cap costs more than was allowed, or memory was not constant.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from ftrl.evaluation.evaluation import Evaluation
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.stats import LearnerStats
from streams.compute.arrays import I8, U64
from streams.compute.splitmix import finalize

CHUNK = 25_000
ALLOWED = 0.01
ADMISSIONS = (AdmissionSettings(), AdmissionSettings(kind="bloom", memory=48))
_RANKS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.2, 0.2)  # values a field has at a time, of a million
_MILLION = 1_000_000
_ONCE = 3  # million values of each field whose values hardly come twice


@dataclass(frozen=True)
class Stream:
    """The examples. scale: of the numbers of values, 1 for 5 million ids in 3 million examples.

    seed: of the draws. life: examples after which a value is replaced.
    """

    examples: int
    scale: float = 1.0
    seed: int = 1

    @property
    def life(self) -> int:
        """Examples after which a value is replaced by a new one."""
        return max(int(self.scale * _MILLION / 2), 1)

    def chunks(self) -> Iterator[tuple[U64, I8]]:
        """Keys, uint64 [rows, 9], and labels of some examples after the others."""
        ranks = np.maximum(np.array(_RANKS) * _MILLION * self.scale, 5)
        once = max(int(_ONCE * _MILLION * self.scale), 1)
        fields = np.arange(len(ranks) + 2, dtype=np.uint64) << np.uint64(48)
        for number, start in enumerate(range(0, self.examples, CHUNK)):
            rows = min(CHUNK, self.examples - start)
            rng = np.random.default_rng([self.seed, number])
            values = (ranks ** rng.random((rows, len(ranks))) - 1).astype(np.uint64)
            values += fields[: len(ranks)]
            time = (start + np.arange(rows))[:, None] / self.life
            values += (time + _unit(values + np.uint64(7))).astype(np.uint64) << np.uint64(32)
            others = rng.integers(0, once, (rows, 2)).astype(np.uint64) + fields[len(ranks) :]
            keys = finalize(np.concatenate([values, others], axis=1) + np.uint64(1))
            logit = -3.5 + 1.4 * (_unit(keys[:, : len(ranks)]) - 0.5).sum(axis=1)
            label = rng.random(rows) < 1 / (1 + np.exp(-logit))
            yield keys, label.astype(np.int8)


def _unit(words: U64) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A number in [0, 1) for each word."""
    return (finalize(words) >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Result:
    """What learning came to. sizes: the table's bytes after each chunk in which it was full."""

    normalized_entropy: float
    stats: LearnerStats
    sizes: frozenset[int]


def run(stream: Stream, learner: LearnerSettings, admission: AdmissionSettings) -> Result:
    """Learn all of the stream."""
    model, evaluation, place = Learner(learner, admission), Evaluation(3_600_000), 0
    sizes = set()
    for keys, label in stream.chunks():
        rows, fields = keys.shape
        learned = model.learn(
            np.arange(rows + 1) * fields,
            keys.ravel(),
            np.empty(0),
            label=label,
            offset=np.zeros(rows),
            weight=np.ones(rows),
            place=np.arange(place, place + rows),
        )
        place += rows
        evaluation.update(learned.logit, label, learned.omega, np.zeros(rows, np.int64))
        if model.evicted:
            sizes.add(model.slots.nbytes)
        assert model.features <= learner.max_features
    entropy = evaluation.metrics()["normalized_entropy"]
    assert entropy is not None
    return Result(entropy, model.stats(), frozenset(sizes))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cap", type=int, default=100_000)
    parser.add_argument("--examples", type=int, default=3_000_000)
    args = parser.parse_args()
    stream = Stream(args.examples)
    titles = (
        "admission",
        "table",
        "ids seen",
        "features",
        "evicted",
        "table MiB",
        "NE",
        "against all",
    )
    table = Table(*titles, box=None)
    worst, constant = 0.0, True
    for admission in ADMISSIONS:
        reference: float | None = None
        for name, values in (
            ("all fit", {}),
            (f"{args.cap:,}", {"max_features": args.cap}),
            (f"{args.cap:,}, refuse", {"max_features": args.cap, "when_full": "refuse"}),
            (f"{args.cap:,}, q2.13", {"max_features": args.cap, "layout": "q2.13", "memory": 1}),
        ):
            found = run(stream, LearnerSettings.model_validate(values), admission)
            reference = reference or found.normalized_entropy
            change = found.normalized_entropy / reference - 1
            stats = found.stats
            size = max(found.sizes, default=0) / 2**20
            figures = [f"{stats.features_seen:,}", f"{stats.features_admitted:,}"]
            figures += [f"{stats.evicted:,}", f"{size:.1f}" if size else ""]
            table.add_row(
                admission.kind, name, *figures, f"{found.normalized_entropy:.5f}", f"{change:+.2%}"
            )
            if "refuse" not in name:
                worst, constant = max(worst, change), constant and len(found.sizes) <= 1
    Console(width=110).print(table)
    print(f"the cap costs at most {worst:.2%}, {ALLOWED:.0%} allowed; memory constant: {constant}")
    raise SystemExit(0 if worst <= ALLOWED and constant else 1)


if __name__ == "__main__":
    main()
