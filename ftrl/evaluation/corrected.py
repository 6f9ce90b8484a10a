"""The corrected metrics: each example under the label it has once its late click is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ftrl.evaluation.evaluation import Evaluation
from streams.compute.arrays import F64, I8, I64, Bool
from streams.schema import Kind

_PREFIX = "remembered_"


@dataclass(slots=True)
class _Negatives:
    """The negatives of one log that a correction may still come for.

    place: int64, ascending. ts: int64, event times, ms. logit: float64.
    """

    place: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    ts: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    logit: F64 = field(default_factory=lambda: np.empty(0))

    def add(self, place: I64, ts: I64, logit: F64) -> None:
        """Append negatives; first labels come in the order of the log."""
        self.place = np.concatenate([self.place, place])
        self.ts = np.concatenate([self.ts, ts])
        self.logit = np.concatenate([self.logit, logit])

    def find(self, place: I64) -> tuple[I64, Bool]:
        """The index of the negative at each place, and whether there is one."""
        if len(self.place) == 0:
            return np.zeros(len(place), np.int64), np.zeros(len(place), np.bool_)
        index: I64 = np.minimum(np.searchsorted(self.place, place), len(self.place) - 1)
        return index, self.place[index] == place

    def forget(self, span: int) -> None:
        """Drop negatives that are more than `span` ms older than the newest."""
        if len(self.ts) == 0:
            return
        oldest = int(self.ts.max()) - span
        if int(self.ts[0]) < oldest:
            # All before the first that may still be needed, so that the places stay ascending.
            start = int((self.ts >= oldest).argmax())
            self.place = self.place[start:].copy()
            self.ts = self.ts[start:].copy()
            self.logit = self.logit[start:].copy()


class Corrected:
    """An evaluation in which a correction moves its example from negative to positive.

    The example stays at the logit of its first label, which is remembered by partition and place
    while the correction can still come. An example that was sampled out, or whose first label was
    not learned here, enters at the correction's own logit. Takes about 24 bytes for each negative
    of the last W + H.
    """

    def __init__(self, bucket: int, span: int) -> None:
        """bucket: as of `Evaluation`, ms. span: from an impression to its last correction, ms."""
        self.evaluation = Evaluation(bucket)
        # A correction comes while its impression is known. By then the watermark has passed the
        # times of all negatives of its partition that are older than the span.
        self._span = span
        self._negatives: dict[int, _Negatives] = {}

    def update(
        self, batch: pa.RecordBatch, place: I64, partition: int, logit: F64, omega: F64
    ) -> None:
        """Count learned examples: first labels and corrections, in their order.

        batch: schema EventSchema.labelled, all of one partition (0: of files). place: int64, of
        each row. logit, omega: float64, of each row, as learned.
        """
        label: I8 = batch.column("label").to_numpy()
        ts: I64 = batch.column("ts").to_numpy()
        kind: I8 = batch.column("kind").to_numpy()
        first: Bool = kind == Kind.FIRST
        self.evaluation.update(logit[first], label[first], omega[first], ts[first])
        negative = first & (label == 0)
        negatives = self._negatives.setdefault(partition, _Negatives())
        negatives.add(place[negative], ts[negative], logit[negative])
        if not first.all():
            self._correct(batch, logit, place, ~first, negatives)
        # Only now, for a correction may stand before the rows that move the time on.
        negatives.forget(self._span)

    def _correct(
        self, batch: pa.RecordBatch, logit: F64, place: I64, late: Bool, negatives: _Negatives
    ) -> None:
        """Move the examples of the rows that are corrections (`late`) to the positives."""
        kept: Bool = batch.column("kept").to_numpy(zero_copy_only=False)[late]
        index, known = negatives.find(place[late])
        counted = kept & known
        first_logit = logit[late]
        first_logit[counted] = negatives.logit[index[counted]]
        self.evaluation.correct(
            first_logit,
            batch.column("weight").to_numpy()[late],
            batch.column("keep_rate").to_numpy()[late],
            counted,
            batch.column("ts").to_numpy()[late],
        )

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, arrays by name."""
        logs = sorted(self._negatives.items())
        parts = [each for _, each in logs] or [_Negatives()]
        remembered = {
            "place": np.concatenate([each.place for each in parts]),
            "ts": np.concatenate([each.ts for each in parts]),
            "logit": np.concatenate([each.logit for each in parts]),
            "partitions": np.array([number for number, _ in logs], np.int64),
            "counts": np.array([len(each.ts) for _, each in logs], np.int64),
        }
        return self.evaluation.state() | {_PREFIX + k: v for k, v in remembered.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the evaluation and the negatives that `state` was taken of."""
        saved = {k: v for k, v in state.items() if k.startswith(_PREFIX)}
        self.evaluation.restore({k: v for k, v in state.items() if k not in saved})
        place, ts, logit, partitions, counts = (
            saved[_PREFIX + name] for name in ("place", "ts", "logit", "partitions", "counts")
        )
        ends = np.cumsum(counts)
        self._negatives = {
            number: _Negatives(place[start:end], ts[start:end], logit[start:end])
            for number, start, end in zip(
                partitions.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True
            )
        }
