"""The corrected metrics: each example under the label it has once its late click is known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from ftrl.evaluation import Evaluation
from joiner import JoinSettings
from streams.jit import F64, I8, I64, Bool
from streams.record import places_of

FIRST, CORRECTION = 0, 1  # of `kind`
_KEPT_STATE = "remembered_"


class Corrected:
    """An evaluation in which a correction moves its example from negative to positive.

    The example stays at the logit of its first label, which is remembered, by place, while the
    correction can still come. One that was sampled out enters at the correction's own logit.
    About 24 bytes for each negative of the last W + H.
    """

    def __init__(self, bucket: int, join: JoinSettings) -> None:
        """bucket: ms, as `Evaluation`."""
        self.evaluation = Evaluation(bucket)
        # A correction comes while its impression is known, and by then the watermark has passed
        # the time of every example that has left.
        self._span = join.known_span
        self._place: I64 = np.empty(0, np.int64)  # ascending: first labels come in log order
        self._ts: I64 = np.empty(0, np.int64)
        self._logit: F64 = np.empty(0)

    def update(self, batch: pa.RecordBatch, logit: F64, omega: F64) -> None:
        """Count learned examples: first labels and corrections, in their order.

        batch: schema EventSchema.labelled. logit, omega: float64, of each row, as learned.
        """
        label: I8 = batch.column("label").to_numpy()
        ts: I64 = batch.column("ts").to_numpy()
        kind: I8 = batch.column("kind").to_numpy()
        first: Bool = kind == FIRST
        self.evaluation.update(logit[first], label[first], omega[first], ts[first])
        place: I64 = places_of(batch)
        negative = first & (label == 0)
        self._place = np.concatenate([self._place, place[negative]])
        self._ts = np.concatenate([self._ts, ts[negative]])
        self._logit = np.concatenate([self._logit, logit[negative]])
        if not first.all():
            self._correct(batch, logit, place, ~first)
        # Only now: a correction in this batch may precede what tells that time has passed.
        self._forget()

    def _correct(self, batch: pa.RecordBatch, logit: F64, place: I64, late: Bool) -> None:
        kept: Bool = batch.column("kept").to_numpy(zero_copy_only=False)[late]
        at = logit[late]
        at[kept] = self._logit[np.searchsorted(self._place, place[late][kept])]
        self.evaluation.correct(
            at,
            batch.column("weight").to_numpy()[late],
            batch.column("keep_rate").to_numpy()[late],
            kept,
            batch.column("ts").to_numpy()[late],
        )

    def state(self) -> dict[str, Any]:
        """Everything `restore` needs, arrays by name."""
        remembered = {"place": self._place, "ts": self._ts, "logit": self._logit}
        return self.evaluation.state() | {_KEPT_STATE + k: v for k, v in remembered.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` described."""
        own = {k: v for k, v in state.items() if k.startswith(_KEPT_STATE)}
        self.evaluation.restore({k: v for k, v in state.items() if k not in own})
        self._place = own[_KEPT_STATE + "place"]
        self._ts = own[_KEPT_STATE + "ts"]
        self._logit = own[_KEPT_STATE + "logit"]

    def _forget(self) -> None:
        """Drop what can no longer be corrected."""
        if len(self._ts) == 0:
            return
        oldest = int(self._ts.max()) - self._span
        if int(self._ts[0]) < oldest:
            # Up to the first that may still be needed, so that the places stay ascending.
            start = int((self._ts >= oldest).argmax())
            self._place = self._place[start:].copy()
            self._ts = self._ts[start:].copy()
            self._logit = self._logit[start:].copy()
