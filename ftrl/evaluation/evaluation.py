"""Progressive evaluation: how good the predictions were, each made before its label was seen.

Every metric comes from weighted sums (`ftrl.evaluation.histogram`), so an evaluation can be saved,
and an example can be taken back where its label is corrected.
"""

from collections.abc import Mapping

import numpy as np

from ftrl.evaluation.histogram import (
    COARSE_BINS,
    COLUMNS,
    COUNT,
    FINE,
    FINE_BINS,
    WEIGHT,
    Examples,
    Timeline,
    accumulate,
)
from ftrl.evaluation.metrics import (
    Group,
    Metrics,
    examples,
    group,
    mean_prediction,
    positives,
    summary,
)
from streams.compute.arrays import F64, I8, I64, Bool

HOUR = 3_600_000
DECILES = 10
POINT_BINS = FINE // 2  # a point of the curve spans half a unit of logit


class Bucket(Metrics):
    """The metrics of the examples with `ts` <= event time < `ts` + `width_ms` (ms).

    `p` is their mean prediction.
    """

    ts: int
    width_ms: int
    positives: int
    p: float | None


class Decile(Group):
    """A tenth of the weight: `decile` 1 has the lowest predictions, 10 the highest."""

    decile: int


class Evaluation:
    """Log loss, normalized entropy, AUC and calibration: overall, by prediction, over time.

    About 4 MB, and 16 kB for each bucket of event time.
    """

    def __init__(self, bucket_ms: int = HOUR, max_buckets: int = 512) -> None:
        """`bucket_ms`: width of a bucket of event time, ms, aligned to the epoch.

        `max_buckets`: when there would be more, the width doubles. Raises ValueError for a
        width below 1 or a number below 2.
        """
        if bucket_ms < 1 or max_buckets < 2:
            raise ValueError("an evaluation needs bucket_ms >= 1 and max_buckets >= 2")
        self._bucket_ms = bucket_ms
        self._fine: F64 = np.zeros((FINE_BINS, 2, COLUMNS))
        self._time = Timeline(bucket_ms, max_buckets)

    def update(self, logit: F64, label: I8, weight: F64, ts: I64) -> None:
        """Add examples: logit of the prediction, label 0 or 1, weight ω, event time (ms).

        All [rows]. Raises ValueError, and adds nothing, for lengths that differ, a logit
        that is not finite, a weight that is not finite and positive, or another label.
        """
        rows = _checked(logit, label, weight, ts)
        done = 0
        while (done := self._accumulate(rows, done, 1)) < len(rows.logit):
            self._time.open(int(rows.ts[done]))

    def remove(self, logit: F64, label: I8, weight: F64, ts: I64) -> None:
        """Take back examples that were added with the same logit, label, weight and ts.

        Sums come back to what they were up to rounding, and to exactly 0 where no example is
        left. Raises ValueError as `update` does, and at a row that cannot have been added, when the
        rows before it have been taken back.
        """
        rows = _checked(logit, label, weight, ts)
        done = self._accumulate(rows, 0, -1)
        if done < len(rows.logit):
            raise ValueError(
                f"cannot take back row {done} (logit {logit[done]}, label {label[done]}, "
                f"ts {ts[done]}): no such example is left; pass the logit it was added with"
            )

    def correct(self, logit: F64, weight: F64, rate: F64, kept: Bool, ts: I64) -> None:
        """Turn examples first labelled negative into positives; all arrays [rows].

        A `kept` example was added by `update` as a negative of weight ω₀/r: it moves at that
        same `logit`. An example that was sampled out enters at the logit of its correction.
        weight: ω₀. rate: r. ts: the impression's. Raises ValueError as `remove` does.
        """
        negative = np.zeros(int(kept.sum()), np.int8)
        self.remove(logit[kept], negative, weight[kept] / rate[kept], ts[kept])
        self.update(logit, np.ones(len(logit), np.int8), weight, ts)

    def state(self) -> dict[str, F64 | I64]:
        """Everything to continue from, as new arrays; see `restore`.

        Most cells of `fine` and `coarse` are empty: only the others are given, with their indices
        in the flattened arrays (`fine_at`, `coarse_at`).
        """
        index, sums, coarse = self._time.ordered()
        cells, used = np.flatnonzero(self._fine[:, :, COUNT]), np.flatnonzero(coarse)
        return {
            "widths": np.array([self._bucket_ms, self._time.width], np.int64),
            "fine_at": cells,
            "fine": self._fine.reshape(-1, COLUMNS)[cells],
            "index": index,
            "sums": sums,
            "coarse_at": used,
            "coarse": coarse.reshape(-1)[used],
        }

    def restore(self, state: Mapping[str, F64 | I64]) -> None:
        """Take over the evaluation that `state` was taken of, byte for byte.

        Raises ValueError if that had another `bucket_ms`.
        """
        bucket_ms, width = (int(v) for v in state["widths"])
        if bucket_ms != self._bucket_ms:
            raise ValueError(
                f"the saved evaluation has buckets of {bucket_ms} ms, this one of "
                f"{self._bucket_ms} ms; set the same width"
            )
        index = state["index"].astype(np.int64)
        coarse = np.zeros((index.size, COARSE_BINS, 2))
        coarse.reshape(-1)[state["coarse_at"]] = state["coarse"]
        self._time = Timeline(width, self._time.limit)
        self._time.fill(index, state["sums"].astype(np.float64), coarse)
        self._fine = np.zeros_like(self._fine)
        self._fine.reshape(-1, COLUMNS)[state["fine_at"]] = state["fine"]

    def metrics(self) -> Metrics:
        """The metrics of all examples."""
        return summary(self._fine.sum(axis=0), self._fine[:, :, WEIGHT])

    def deciles(self) -> list[Decile]:
        """Tenths of the weight by ascending prediction; none without examples.

        A bin across an edge is split in proportion, so that equal predictions, however
        many, still give tenths.
        """
        weight = self._fine[:, :, WEIGHT].sum(axis=1)
        total = weight.sum()
        if total <= 0:
            return []
        upper = np.cumsum(weight)
        edges = np.linspace(0.0, upper[-1], DECILES + 1)
        below = np.clip(edges[:, None], upper - weight, upper) - (upper - weight)
        share = np.diff(below, axis=0) / np.where(weight > 0, weight, 1.0)
        cells = np.einsum("db,bcs->dcs", share, self._fine)
        return [{"decile": i + 1, **group(cell)} for i, cell in enumerate(cells)]

    def curve(self) -> list[Group]:
        """The calibration curve: a point for every half unit of logit that has examples."""
        cells = self._fine.reshape(-1, POINT_BINS, 2, COLUMNS).sum(axis=1)
        return [group(cell) for cell in cells if examples(cell)]

    def buckets(self) -> list[Bucket]:
        """The metrics over event time, oldest first; buckets without examples left out."""
        width = self._time.width
        return [
            {
                "ts": int(key) * width,
                "width_ms": width,
                "positives": positives(cell),
                "p": mean_prediction(cell),
                **summary(cell, coarse),
            }
            for key, cell, coarse in zip(*self._time.ordered(), strict=True)
            if examples(cell)
        ]

    def _accumulate(self, rows: Examples, first: int, sign: int) -> int:
        return accumulate(rows, first, sign, self._fine, self._time.arrays)


def _checked(logit: F64, label: I8, weight: F64, ts: I64) -> Examples:
    """The arrays as the kernel takes them: of one length, contiguous, writable, valid."""
    if not len(logit) == len(label) == len(weight) == len(ts):
        raise ValueError("logit, label, weight and ts must have one length")
    if not np.isfinite(logit).all():
        raise ValueError("every logit must be finite")
    if not ((weight > 0) & np.isfinite(weight)).all():
        raise ValueError("every weight must be finite and positive")
    if not ((label == 0) | (label == 1)).all():
        raise ValueError("every label must be 0 or 1")
    # Arrow's buffers are read-only: another array type, for which Numba would compile anew.
    return Examples(
        np.require(logit, np.float64, ("C", "W")),
        np.require(label, np.int8, ("C", "W")),
        np.require(weight, np.float64, ("C", "W")),
        np.require(ts, np.int64, ("C", "W")),
    )
