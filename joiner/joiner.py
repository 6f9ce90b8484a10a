"""The joiner: impressions and clicks in, labelled examples and facts out. No clock, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from joiner.breaker import BreakerState, breaker_state, fresh_breaker
from joiner.delays import DELAY_EDGES, DelayHistogram
from joiner.kernels import join
from joiner.labels import Labeller
from joiner.ledger import ClickCount, ImpressionCount, Ledger, ledger_of
from joiner.outputs import JoinOutput, Reporter
from joiner.pending import Pending
from joiner.rules import CORRECTED, NEVER, WAITED, Facts, empty_tally, rules_of
from joiner.settings import JoinSettings, SamplingSettings
from joiner.state import STATE_VERSION, JoinState, check_plain, known_batch, known_entries
from joiner.steps import StepReader
from joiner.waiting import USED, WaitingClicks
from streams.jit import U8
from streams.schema import EventSchema


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Milliseconds; NEVER before a source's first row, FOREVER after its end."""

    impressions: int
    clicks: int

    @property
    def join(self) -> int:
        """The lower of the two, by which impressions close."""
        return min(self.impressions, self.clicks)


class Joiner:
    """Joins one partition's impressions and clicks in event time."""

    def __init__(
        self, schema: EventSchema, settings: JoinSettings, sampling: SamplingSettings
    ) -> None:
        """Raises ValueError if schema and settings declare different click types."""
        if schema.click_types != settings.click_types:
            raise ValueError(
                f"the schema declares the click types {schema.click_types}, the join settings "
                f"{settings.click_types}; build the schema with the settings' types"
            )
        self._settings = settings
        self._sampling = sampling
        corrects = settings.correction_horizon > 0
        self._rules = rules_of(settings, sampling)
        self._watermarks = np.array([NEVER, NEVER], np.int64)
        self._tally = empty_tally(len(schema.click_types))
        self._breaker = fresh_breaker()
        self._pending = Pending(schema.impressions, settings.known_span, keep_known_rows=corrects)
        self._waiting = WaitingClicks(schema.clicks)
        self._reader = StepReader(schema)
        self._labeller = Labeller(schema, settings, sampling.keep_rate)
        self._reporter = Reporter(schema)

    def process(self, impressions: pa.RecordBatch, clicks: pa.RecordBatch, order: U8) -> JoinOutput:
        """Take the events of a step, one by one, in `order`; give all that follows from them.

        impressions, clicks: `EventSchema.impressions` and `.clicks`. order: 0 for the next
        impression row, 1 for the next click row, 2 and 3 for the end of the impressions and of
        the clicks (each once, after the source's last row). How events are divided into steps
        changes nothing but the division of the output.

        Raises ValueError if the batches and the order do not fit together.
        """
        events = self._reader.read(impressions, clicks, order, self._watermarks)
        self._pending.reserve(impressions.num_rows, self.watermarks.join)
        self._waiting.reserve(clicks.num_rows)
        facts = self._facts(impressions.num_rows, clicks.num_rows)
        start = self._pending.decided
        join(
            events,
            self._rules,
            self._watermarks,
            self._pending.ring,
            self._waiting.queue,
            self._tally,
            self._breaker,
            facts,
        )
        accepted = facts.accepted.view(np.bool_)
        whole = bool(accepted.all())
        self._pending.append(impressions if whole else impressions.filter(pa.array(accepted)))
        self._waiting.append(clicks.take(pa.array(facts.waited[: facts.filled[WAITED]])))
        corrections = facts.corrections[: facts.filled[CORRECTED]]
        output = JoinOutput(
            labelled=self._labeller.examples(self._pending, start, corrections),
            late=self._reporter.late(facts, clicks, self._waiting),
            rejected=self._reporter.rejected(facts, impressions, clicks, self._waiting),
        )
        self._pending.release()
        return output

    def count_rejected(self, impressions: int = 0, clicks: Mapping[str, int] | None = None) -> None:
        """Enter rows that were rejected at the edge, before the join, into the ledger.

        clicks: how many of each type; "" for those with no declared type.
        """
        counts = self._tally.impressions
        counts[ImpressionCount.READ] += impressions
        counts[ImpressionCount.REJECTED] += impressions
        types = self._settings.click_types
        for kind, count in (clicks or {}).items():
            row = self._tally.clicks[types.index(kind) if kind in types else len(types)]
            row[ClickCount.READ] += count
            row[ClickCount.REJECTED] += count

    @property
    def ledger(self) -> Ledger:
        """The counts at this moment."""
        return ledger_of(
            self._tally.impressions,
            self._tally.clicks,
            self._pending.open,
            (*self._settings.click_types, ""),
        )

    @property
    def delays(self) -> DelayHistogram:
        """The delays of the clicks of type `click` so far."""
        matched, late = self._tally.delays.copy()
        return DelayHistogram(DELAY_EDGES, matched, late)

    @property
    def watermarks(self) -> Watermarks:
        """Both sources' watermarks at this moment."""
        impressions, clicks = self._watermarks.tolist()
        return Watermarks(impressions, clicks)

    @property
    def breaker(self) -> BreakerState:
        """The breaker at this moment; once the clicks have ended it is closed for good."""
        return breaker_state(self._breaker)

    @property
    def open_impressions(self) -> int:
        """How many impressions are not decided yet."""
        return self._pending.open

    @property
    def bytes(self) -> int:
        """Bytes of ring, index and waiting clicks, counted at capacity, rows not included."""
        return self._pending.nbytes + self._waiting.nbytes

    @property
    def row_bytes(self) -> int:
        """Bytes of the impressions' rows that are kept for emission or correction."""
        return self._pending.row_bytes

    def state(self) -> JoinState:
        """Everything needed to go on exactly from here, see `restore`."""
        return JoinState(
            known=known_batch(self._pending.known()),
            rows=self._pending.needed_rows(),
            waiting=self._waiting.waiting(),
            plain={
                "version": STATE_VERSION,
                "join": self._settings.model_dump(mode="json"),
                "sampling": self._sampling.model_dump(mode="json"),
                "open": self._pending.open,
                "watermarks": self._watermarks.tolist(),
                "tally": [part.tolist() for part in self._tally],
                "breaker": self._breaker.tolist(),
            },
        )

    @classmethod
    def restore(
        cls,
        schema: EventSchema,
        settings: JoinSettings,
        sampling: SamplingSettings,
        state: JoinState,
    ) -> Self:
        """A joiner that goes on exactly as the one whose `state` this is.

        Raises ValueError if the state has another version or was saved with other settings.
        """
        plain = state["plain"]
        check_plain(plain, settings, sampling)
        self = cls(schema, settings, sampling)
        self._watermarks[:] = plain["watermarks"]
        for part, saved in zip(self._tally, plain["tally"], strict=True):
            part[:] = saved
        self._breaker[:] = plain["breaker"]
        known = known_entries(state["known"])
        self._pending.refill(known, plain["open"], state["rows"], self.watermarks.join)
        self._waiting = WaitingClicks.restore(state["waiting"])
        return self

    def _facts(self, impressions: int, clicks: int) -> Facts:
        referred = clicks + int(self._waiting.queue.cursor[USED])
        return Facts(
            accepted=np.empty(impressions, np.uint8),
            waited=np.empty(clicks, np.int32),
            rejects=np.empty((impressions + referred, 2), np.int64),
            late=np.empty((referred, 2), np.int64),
            corrections=np.empty((clicks, 3), np.int64),
            filled=np.zeros(4, np.int64),
        )
