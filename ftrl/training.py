"""Training: labelled examples in; the model, and everything measured of it, out.

    labelled examples ── Features ── Learner ── logits ── Evaluation

Examples come as Arrow batches, from a replay or from Kafka; training reads and writes no file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ftrl.cut import Cut
from ftrl.evaluation.corrected import Corrected
from ftrl.evaluation.evaluation import Evaluation
from ftrl.features.config import FeatureConfig
from ftrl.features.coordinates import Features
from ftrl.learner import Learner
from ftrl.logistic import probabilities
from ftrl.settings import AdmissionSettings, LearnerSettings
from streams.compute.arrays import F64, I8, I64
from streams.position import packed_positions, rounding_seeds
from streams.schema import Kind


@dataclass(frozen=True, slots=True)
class Predicted:
    """Examples just learned from, with the prediction made before each update, float64."""

    batch: pa.RecordBatch
    p: F64


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """The settings of training.

    bucket: of event time in the evaluation, ms. correction_span: how long after an impression its
    correction may come, ms; None: there are no corrections. mark_every: of event time between two
    marks, ms; 0: no marks.
    """

    features: FeatureConfig
    learner: LearnerSettings
    admission: AdmissionSettings
    bucket: int
    correction_span: int | None
    mark_every: int


class Training:
    """Features, learner and evaluation.

    `on_mark(ts)` is called, between two examples, when their event time reaches a multiple of
    `mark_every`; ts is that multiple, ms.
    """

    def __init__(self, settings: TrainingSettings, on_mark: Callable[[int], None]) -> None:
        """A learner and an evaluation that have seen nothing yet."""
        self.settings = settings
        self.features = Features(settings.features, admission=settings.admission)
        self.learner = Learner(settings.learner, settings.admission)
        self.evaluation = Evaluation(settings.bucket)
        self.corrected = (
            None
            if settings.correction_span is None
            else Corrected(settings.bucket, settings.correction_span)
        )
        self.cut = Cut()
        self._every = settings.mark_every
        self.next_mark: int | None = None
        self._on_mark = on_mark

    def train(self, labelled: pa.RecordBatch, partition: int | None = None) -> Iterator[Predicted]:
        """Learn from `labelled` (schema EventSchema.labelled), stopping at the marks in it.

        partition: of the topic, through which all examples came; None: they are of files.
        """
        for part in self._between_marks(labelled):
            yield self._train_between_marks(part, partition)

    def _train_between_marks(self, batch: pa.RecordBatch, partition: int | None) -> Predicted:
        """Learn from a batch in which no mark is due."""
        column = batch.column
        place = packed_positions(batch, partition)
        label: I8 = column("label").to_numpy()
        ts: I64 = column("ts").to_numpy()
        coordinates = self.features.coordinates(batch)
        learned = self.learner.learn(
            coordinates.indptr,
            coordinates.keys,
            coordinates.values,
            label=label,
            offset=column("offset").to_numpy(),
            weight=column("weight").to_numpy(),
            rate=column("keep_rate").to_numpy(),
            kind=column("kind").to_numpy(),
            kept=column("kept").to_numpy(zero_copy_only=False),
            place=rounding_seeds(place, partition),
            ts=ts,
            thresholds=coordinates.thresholds,
        )
        first = column("kind").to_numpy() == Kind.FIRST
        self.evaluation.update(learned.logit[first], label[first], learned.omega[first], ts[first])
        if self.corrected is not None:
            self.corrected.update(batch, place, partition or 0, learned.logit, learned.omega)
        last = batch.num_rows - 1
        self.cut = Cut(
            self.cut.examples + batch.num_rows,
            max(int(ts.max()), self.cut.ts or 0),
            (column("src_offset")[last].as_py(), column("src_row")[last].as_py()),
        )
        return Predicted(batch, probabilities(learned.logit))

    def _between_marks(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The parts of a batch between marks; calls `on_mark` at each."""
        start, rows = 0, batch.num_rows
        if self._every and rows:
            ts: I64 = batch.column("ts").to_numpy()
            if self.next_mark is None:
                self.next_mark = self._mark_after(int(ts[0]))
            while (reached := np.flatnonzero(ts[start:] >= self.next_mark)).size:
                row = start + int(reached[0])
                if row > start:
                    yield batch.slice(start, row - start)
                start = row
                self._on_mark(int(ts[row]) // self._every * self._every)
                self.next_mark = self._mark_after(int(ts[row]))
        if rows > start:
            yield batch.slice(start)

    def _mark_after(self, ts: int) -> int:
        """The first multiple of `mark_every` after `ts`, ms."""
        return (ts // self._every + 1) * self._every
