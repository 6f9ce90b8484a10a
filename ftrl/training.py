"""Training: labelled examples in; the model, and everything measured of it, out.

    labelled examples ── Features ── Learner ── logits ── Evaluation

No file is touched here, and where examples come from is not known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ftrl.evaluation.corrected import FIRST, Corrected
from ftrl.evaluation.evaluation import Evaluation
from ftrl.features.config import FeatureConfig
from ftrl.features.coordinates import Features
from ftrl.learner import Learner
from ftrl.logistic import probabilities
from ftrl.settings import AdmissionSettings, LearnerSettings
from streams.compute.arrays import F64, I8, I64
from streams.position import packed_positions, rounding_seeds


@dataclass(frozen=True, slots=True)
class Cut:
    """How far the learner has come: a serving version describes itself with it.

    examples: learned from. ts: greatest event time among them, ms. place: of the last
    one's impression: (file, row), or (offset, row) in its partition.
    """

    examples: int = 0
    ts: int | None = None
    place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """Examples just learned from, with the predictions made before each update, float64."""

    batch: pa.RecordBatch
    p: F64


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What training goes by.

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
        """All parts fresh."""
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

    def learn(self, labelled: pa.RecordBatch, partition: int | None = None) -> Iterator[Predicted]:
        """Learn from `labelled` (schema EventSchema.labelled), stopping at the marks in it.

        partition: of the topic that all of it came through; None: it is of files.
        """
        for part in self._between_marks(labelled):
            yield self._learn(part, partition)

    def _learn(self, batch: pa.RecordBatch, partition: int | None) -> Predicted:
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
            bars=coordinates.bars,
        )
        first = column("kind").to_numpy() == FIRST
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
        start, rows = 0, batch.num_rows
        if self._every and rows:
            ts: I64 = batch.column("ts").to_numpy()
            if self.next_mark is None:
                self.next_mark = self._mark_after(int(ts[0]))
            while (reached := np.flatnonzero(ts[start:] >= self.next_mark)).size:
                at = start + int(reached[0])
                if at > start:
                    yield batch.slice(start, at - start)
                start = at
                self._on_mark(int(ts[at]) // self._every * self._every)
                self.next_mark = self._mark_after(int(ts[at]))
        if rows > start:
            yield batch.slice(start)

    def _mark_after(self, ts: int) -> int:
        return (ts // self._every + 1) * self._every
