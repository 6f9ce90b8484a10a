"""The learner: batches of labelled examples in, progressive predictions out.

An example's coordinates are coalesced, located in the table, admitted if new and due, turned
into a logit, and moved one step.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from ftrl.admission import hyperloglog
from ftrl.admission.admission import Admission
from ftrl.eviction.eviction import Eviction
from ftrl.kernels import count_codes, slot_codec
from ftrl.kernels.arguments import FULL, TALLY, Model, Rates
from ftrl.kernels.batch import CORRECTION, Batch, Examples, batch_of, examples_of, thresholds_of
from ftrl.kernels.learn import learn_rows, weight
from ftrl.kernels.slot_codec import SlotCodec
from ftrl.kernels.threads import WorkerPool
from ftrl.kernels.workspace import Workspace, workspace_for
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.state import STATE_FORMAT, State, check, columns_state, tallied
from ftrl.stats import LearnerStats, stats_of
from ftrl.table.growing import Table
from ftrl.table.layout import NO_AGES, MaybeHomes, Slots, columns
from streams.compute.arrays import F64, I8, I64, U8, U64, Bool

# Between two steps of growth: coordinates that are learned from, and features that may come.
STEP = 1 << 17
NEW_FEATURES = 1 << 13


class Learned(NamedTuple):
    """Of each row of a batch: the logit before learning from it, and its weight in metrics.

    logit: float64. omega: float64, ω of a first label (ω₀, or ω₀/r for a sampled negative), ω₀
    of a correction.
    """

    logit: F64
    omega: F64


class Learner:
    """Logistic regression by FTRL-Proximal (McMahan et al., KDD 2013, Algorithm 1).

    Deterministic: the same examples in the same order with the same settings give the same
    bytes, however they are cut into batches.

    >>> learner = Learner(LearnerSettings(l1=0), AdmissionSettings())
    >>> rows = {"indptr": np.array([0, 1, 2]), "keys": np.array([7, 8], np.uint64)}
    >>> columns = {"label": np.array([1, 0], np.int8), "offset": np.zeros(2), "weight": np.ones(2)}
    >>> learner.learn(**rows, values=np.empty(0), **columns).logit.round(3).tolist()
    [0.0, 0.033]
    """

    def __init__(self, settings: LearnerSettings, admission: AdmissionSettings) -> None:
        """A learner that has learned nothing yet."""
        self.settings = settings
        self._rates = Rates(settings.alpha, settings.beta, settings.l1, settings.l2)
        self._table = Table(
            settings.layout, settings.max_features, settings.memory, aged=settings.expire_after > 0
        )
        self._admission = Admission(admission)
        self._sketch = hyperloglog.registers()
        self._tally = np.zeros(1, TALLY)
        self._eviction = Eviction(settings, self.buckets, self._tally)
        self._bits = count_codes.bits_of(settings)
        self._pool = WorkerPool(settings.threads) if settings.threads > 1 else None

    def learn(
        self,
        indptr: I64,
        keys: U64,
        values: F64,
        *,
        label: I8,
        offset: F64,
        weight: F64,
        rate: F64 | None = None,
        kind: I8 | None = None,
        kept: Bool | None = None,
        place: I64 | None = None,
        ts: I64 | None = None,
        thresholds: U8 | None = None,
    ) -> Learned:
        """Predict each row, then learn from it, one after the other.

        Coordinates: indptr: int64 [rows + 1]; keys: uint64 [nnz], never 0, repeats allowed; values:
        float64 [nnz], or [0] where every value is 1; thresholds: uint8 [nnz], 0 to 15, after how
        many sightings filters admit each (default, and if of length 0: `admit_after`; of a key that
        occurs twice in a row the first holds).

        Rows: label: int8, 0 or 1. offset: float64, a logit added to the model's own. weight:
        float64, ω₀ ≥ 0. rate: float64, 0 < r ≤ 1: the share kept, where the row is, or its first
        label was, a negative subject to sampling, else 1; default 1. kind: int8, see
        `streams.schema.Kind`; default FIRST. kept: bool, of a correction: whether its first label
        was learned from; default true. place: int64 ≥ 0, where in the log the row is, on which all
        random draws depend: no two first labels share a place, nor do two corrections; required by
        layout q2.13, rates by counts and admission by Poisson inclusion. ts: int64 ≥ 0, event time,
        ms; required by filters that rotate by time.

        Values, offsets and weights beyond ±10^15 are clipped. Raises ValueError for arrays that
        do not fit together and for NaN or infinities; nothing has been learned then.
        """
        if place is None and (self._table.bucketed or self._bits or self._admission.drawn):
            raise ValueError(
                "layout q2.13, rates by counts and kind poisson draw by the rows' places: give them"
            )
        if ts is None and self._admission.timed:
            raise ValueError("filters that rotate by time need the rows' event times: give them")
        batch = batch_of(indptr, keys, values, len(label))
        checked = thresholds_of(indptr, keys, thresholds)
        examples = examples_of(label, offset, weight, rate, kind, kept, place, ts, checked)
        logits = np.empty(len(label))
        work = workspace_for(batch)
        counted = (examples.kind != CORRECTION) | ~examples.kept
        ends = self._eviction.ends(int(self._tally["examples"][0]), counted)
        done = 0
        for end in ends.tolist():
            self._learn_range(batch, examples, work, done, end, logits)
            self._count_evicted(self._eviction.expire(self._table, int(self._tally["examples"][0])))
            done = end
        self._learn_range(batch, examples, work, done, len(label), logits)
        return Learned(logits, examples.omega)

    def _learn_range(
        self, batch: Batch, examples: Examples, work: Workspace, start: int, stop: int, logits: F64
    ) -> None:
        """Learn from the rows `start` to `stop`."""
        while start < stop:
            start = self._learn_until_due(batch, examples, work, start, stop, logits)

    def _learn_until_due(
        self, batch: Batch, examples: Examples, work: Workspace, start: int, stop: int, logits: F64
    ) -> int:
        """Learn from rows from `start` on, until `stop` or until the table needs a change.

        Makes that change. Returns the row to go on from.
        """
        length = int(batch.indptr[start + 1] - batch.indptr[start])
        self._table.reserve(self.features + length)
        model = self._model()
        if self._table.growing:
            far = int(np.searchsorted(batch.indptr, batch.indptr[start] + STEP))
            stop = min(max(far, start + 1), stop)
            room = self.features + max(NEW_FEATURES, length)
            model = model._replace(room=min(model.room, room))
        before = self.features
        done = start
        if self._pool is not None and not self._eviction.is_full:
            done = self._pool.learn_rows(model, batch, examples, work, start, stop, logits)
        if done < stop and not self._crowded:
            work.dedupe_table.fill(-1)
            done = learn_rows(model, batch, examples, work, done, stop, logits)
        self._table.keep_growing(self.features - before)
        if self._crowded:
            self._make_room()
        return done

    @property
    def _crowded(self) -> bool:
        """Whether a feature was refused, and others are to leave for the next ones."""
        return self._eviction.at_cap and bool(self._tally["crowded"][0] != 0)

    def _make_room(self) -> None:
        """Have features leave where there was no room for one."""
        crowded = int(self._tally["crowded"][0])
        if crowded == FULL:
            self._count_evicted(self._eviction.make_room(self._table, self.features))
        else:
            self._count_evicted(
                self._eviction.clear_bucket(self._table, crowded - 1, self.features)
            )
        self._tally["crowded"] = 0

    def _count_evicted(self, features: int) -> None:
        """Count features that have left the table."""
        self._tally["used"] -= features
        self._tally["evicted"] += features

    @property
    def features(self) -> int:
        """How many features the table holds."""
        return int(self._tally["used"][0])

    @property
    def evicted(self) -> int:
        """How many features have left the table again."""
        return int(self._tally["evicted"][0])

    @property
    def bias(self) -> float:
        """The weight of the constant coordinate, which λ1 never shrinks."""
        z, n = float(self._tally["bias_z"][0]), float(self._tally["bias_n"][0])
        return float(weight(z, math.sqrt(n), self._rates, 0.0))

    def weights(self) -> tuple[U64, F64]:
        """Keys in ascending order, uint64, and their weights, float64: those that are not 0."""
        a, b, l1, l2 = self._rates
        keys, stored_z, stored_n, _ = columns(self._table.slots)
        z, n = slot_codec.decoded(stored_z, stored_n, self._codec())
        chosen = np.abs(z) > l1
        z, n = z[chosen], n[chosen]
        return keys[chosen], (z.clip(-l1, l1) - z) * a / (b + np.sqrt(n) + a * l2)

    def stats(self) -> LearnerStats:
        """The model's size and the filters' state; reads all of their memory."""
        return stats_of(self._tally, self._table, self._admission, self._sketch, self._codec())

    @property
    def admission(self) -> Admission:
        """The admission filters: for how full they are, and how they err."""
        return self._admission

    @property
    def slots(self) -> Slots:
        """The table's slots as they lie in memory, not copied: for saving what was touched."""
        return self._table.slots

    @property
    def ages(self) -> U8:
        """A byte a slot for when its feature was last seen, not copied; [0] if none expires."""
        return self._table.ages

    @property
    def homes(self) -> MaybeHomes:
        """Where among the slots keys live, as kernels take it."""
        return self._table.homes

    @property
    def buckets(self) -> int:
        """How many buckets the slots are in, 0 if in none: the geometry of layout q2.13."""
        return self._table.buckets

    def take_touched(self) -> U64:
        """A bit a slot, 64 a word: those stored to, filled or emptied since the last call."""
        return self._table.take_touched()

    def state(self) -> State:
        """Everything needed to go on elsewhere, copied: arrays and numbers by name.

        Canonical: learners that have learned the same have equal states.
        """
        return self.state_without_table() | columns_state(self._table.slots, self.ages)

    def state_without_table(self) -> State:
        """`state` but for what `columns_state` gives of the slots."""
        bucketed: State = {"groups": self.buckets} if self._table.bucketed else {}
        counted: State = {"count_bits": int(self._bits)} if self._bits else {}
        return {
            "format": STATE_FORMAT,
            **bucketed,
            **counted,
            **{name: self._tally[name][0].item() for name in tallied(self.settings)},
            "hand": self._eviction.hand,
            "epoch": self._eviction.epoch,
            "full_at": self._eviction.full_at,
            **self._admission.state(),
            "seen": self._sketch.copy(),
        }

    @classmethod
    def restore(
        cls, settings: LearnerSettings, admission: AdmissionSettings, state: Mapping[str, Any]
    ) -> Self:
        """The learner that `state` was taken of; with the same settings it goes on as that one.

        Other settings hold from here on. With other rates, η·z stays what it was in q2.13, else z
        does. Another layout of floats is allowed. Admission filters of another shape start to count
        again. With another `expire_after` every feature was last seen now.

        Raises DataError for a format this program does not know, ConfigError if the state has more
        features than the table may hold, or z and n in another layout or by other rates.
        """
        check(settings, state)
        learner, features = cls(settings, admission), len(state["keys"])
        for name in tallied(settings):
            learner._tally[name] = state.get(name, 0)
        learner._tally["used"] = features
        learner._eviction.hand = state.get("hand", 0)
        learner._eviction.full_at = state.get("full_at", 0)
        ages = state.get("ages", NO_AGES)
        if len(ages) != features or state.get("epoch") != learner._eviction.epoch:
            ages = np.full(features, learner._eviction.now(state["examples"]), np.uint8)
        learner._table.load(state["keys"], state["z"], state["n"], ages)
        learner._admission.restore(state)
        learner._sketch[:] = state["seen"]
        return learner

    def _codec(self) -> SlotCodec:
        """How z and n of a slot are read."""
        return SlotCodec(self._bits, float(count_codes.average(self._tally)), self._rates)

    def _model(self) -> Model:
        """The model as kernels take it; holds until the table grows or `take_touched` is called."""
        return Model(
            table=self._table.arrays,
            room=self._table.room,
            max_features=self._table.max_features,
            filters=self._admission.filters(full=self._eviction.is_full),
            sketch=self._sketch,
            tally=self._tally,
            rates=self._rates,
            seed=np.uint64(self.settings.seed),
            bits=self._bits,
            epoch=self._eviction.epoch,
            evicts=self._eviction.at_cap,
        )
