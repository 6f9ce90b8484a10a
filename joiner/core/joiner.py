"""The joiner: impressions and clicks in, labelled examples out. No clock, no I/O."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from joiner.core.breaker import BreakerState, breaker_state, new_breaker
from joiner.core.early_clicks import USED, EarlyClicks
from joiner.core.kernel_types import (
    CORRECTED,
    EARLY,
    SIZES,
    Idle,
    Sizes,
    StepReport,
    idle_advances,
    kernel_settings,
)
from joiner.core.kernels import join
from joiner.core.labels import Labeller
from joiner.core.ledger import (
    DELAY_EDGES,
    ClickCount,
    DelayHistogram,
    ImpressionCount,
    Ledger,
    empty_tally,
    ledger_of,
)
from joiner.core.outputs import JoinOutput, Reporter
from joiner.core.pending import Newest, Pending
from joiner.core.row_store import Spill
from joiner.core.state import STATE_VERSION, JoinState, check_metadata, known_batch, known_entries
from joiner.core.step_input import StepReader
from joiner.settings import JoinSettings, SamplingSettings
from streams.arrow_batches import empty_batch
from streams.compute.arrays import I64, U8
from streams.deadletter import DeadLetter
from streams.events import NEVER
from streams.position import RowPosition, row_position
from streams.rules import TODAY, RuleNumbers
from streams.schema import EventSchema

FLOOR = 2  # index into `Joiner._watermarks`


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The watermarks of both sources, ms; NEVER before the first row, FOREVER after the end."""

    impressions: int
    clicks: int

    @property
    def join(self) -> int:
        """The lower of the two, by which impressions close."""
        return min(self.impressions, self.clicks)


class Joiner:
    """Joins one partition's impressions and clicks in event time.

    >>> import numpy as np, pyarrow as pa
    >>> from streams.schema import EventSchema
    >>> schema = EventSchema((), ("click",))
    >>> joiner = Joiner(schema, JoinSettings(), SamplingSettings())
    >>> event = {"impression_id": "a", "src_offset": 0, "src_row": 0}
    >>> impression = event | {"ts": 0, "offset": 0.0, "weight": 1.0}
    >>> output = joiner.process(
    ...     pa.RecordBatch.from_pylist([impression], schema.impressions),
    ...     pa.RecordBatch.from_pylist([event | {"ts": 60_000, "type": 0}], schema.clicks),
    ...     np.array([0, 1, 2, 3], np.uint8),  # the impression, the click, the ends of both logs
    ... )
    >>> output.labelled[0].select(["impression_id", "label", "click_ts"]).to_pylist()
    [{'impression_id': 'a', 'label': 1, 'click_ts': 60000}]
    >>> joiner.ledger.positives, joiner.ledger.balances()
    (1, True)
    """

    def __init__(
        self,
        schema: EventSchema,
        settings: JoinSettings,
        sampling: SamplingSettings,
        spill: Spill | None = None,
        numbers: RuleNumbers = TODAY,
        sizes: Sizes = SIZES,
    ) -> None:
        """spill: where rows wait that are too many for memory; None: all stay there. numbers: of
        the rules to go by. sizes: the least ones of the joiner's parts.

        Raises ValueError if schema and settings declare different click types.
        """
        if schema.click_types != settings.click_types:
            raise ValueError(
                f"the schema declares the click types {schema.click_types}, the join settings "
                f"{settings.click_types}; build the schema with the settings' types"
            )
        self._settings = settings
        self._sampling = sampling
        self._numbers = numbers
        self._kernel_settings = kernel_settings(settings, sampling, numbers)
        # Of impressions and clicks; then the time until which the first impressions of a recovered
        # joiner are held back, see `without_rows`.
        self._watermarks = np.array([NEVER, NEVER, NEVER], np.int64)
        self._tally = empty_tally(len(schema.click_types))
        self._breaker = new_breaker()
        self._pending = Pending(
            schema.impressions,
            self._kernel_settings.known_span,
            self._kernel_settings.corrects_from,
            spill,
            sizes,
        )
        self._early = EarlyClicks(schema.clicks, sizes)
        self._reader = StepReader(schema)
        self._labeller = Labeller(schema, sampling.keep_rate)
        self._reporter = Reporter(schema)
        self._nothing = empty_batch(schema.impressions), empty_batch(schema.clicks)

    def process(
        self,
        impressions: pa.RecordBatch,
        clicks: pa.RecordBatch,
        order: U8,
        clocks: tuple[I64, I64] | None = None,
    ) -> JoinOutput:
        """Take the events of a step, one by one, in `order`; the result is what follows from them.

        impressions, clicks: `EventSchema.impressions` and `.clicks`. order: 0 for the next
        impression row, 1 for the next click row, 2 and 3 for the end of the impressions and of
        the clicks (each once, after the source's last row), and the further codes of
        `joiner.core.kernel_types`. clocks: the times, ms, by which each impression and each click
        moves its source's watermark; default: `ts`. How events are divided into steps changes
        nothing but the division of the output.

        Raises ValueError if the batches and the order do not fit together; OSError if rows cannot
        be moved out of memory, after which the joiner is of no use: its output is lost.
        """
        events = self._reader.read(impressions, clicks, order, clocks, self._watermarks)
        self._pending.reserve(impressions.num_rows, self.watermarks.join)
        self._early.reserve(clicks.num_rows)
        report = self._new_report(impressions.num_rows, clicks.num_rows)
        start = self._pending.first_open
        join(
            events,
            self._kernel_settings,
            self._watermarks,
            self._pending.ring,
            self._early.queue,
            self._tally,
            self._breaker,
            report,
        )
        accepted = report.accepted.view(np.bool_)
        if not accepted.all():
            self._pending.append(impressions.filter(pa.array(accepted)))
        else:
            self._pending.append(impressions)
        early = np.zeros(clicks.num_rows, np.bool_)
        if report.filled[EARLY]:
            rows = report.early[: report.filled[EARLY]]
            early[rows] = True
            self._early.append(clicks.take(pa.array(rows)))
        corrections = report.corrections[: report.filled[CORRECTED]]
        output = JoinOutput(
            labelled=self._labeller.examples(self._pending, start, corrections),
            late=self._reporter.late(report, clicks, self._early),
            rejected=self._reporter.rejected(report, impressions, clicks, self._early),
            accepted=accepted,
            early=early,
        )
        self._pending.release()
        return output

    def advance_idle(self, idle: Idle) -> JoinOutput:
        """Advance the watermarks of idle sources, so that they do not hold the join's back."""
        return self.process(*self._nothing, idle_advances(idle))

    def is_held_back(self, idle: Idle) -> bool:
        """Whether `advance_idle` would change a watermark, were the breaker closed."""
        impressions, clicks, _ = self._watermarks.tolist()
        behind = Idle.IMPRESSIONS if impressions < clicks else Idle.CLICKS
        return behind in idle and impressions != clicks

    def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Enter rows that were rejected before the join into the ledger."""
        impressions = sum(x.source == "impressions" for x in letters)
        clicks = Counter(x.click_type for x in letters if x.source == "clicks")
        counts = self._tally.impressions
        counts[ImpressionCount.READ] += impressions
        counts[ImpressionCount.REJECTED] += impressions
        types = self._settings.click_types
        for click_type, count in clicks.items():
            row = self._tally.clicks[types.index(click_type) if click_type in types else len(types)]
            row[ClickCount.READ] += count
            row[ClickCount.REJECTED] += count

    @property
    def ledger(self) -> Ledger:
        """The counts at this moment."""
        return ledger_of(self._tally, self._pending.open, self._settings.click_types)

    @property
    def delays(self) -> DelayHistogram:
        """The delays of the clicks of type `click` so far."""
        matched, late = self._tally.delays.copy()
        return DelayHistogram(DELAY_EDGES, matched, late)

    @property
    def watermarks(self) -> Watermarks:
        """Both sources' watermarks at this moment."""
        impressions, clicks, _ = self._watermarks.tolist()
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
    def known_impressions(self) -> int:
        """How many impressions are in the ring: open, or decided and remembered."""
        return self._pending.next - self._pending.first_known

    @property
    def first_open(self) -> RowPosition | None:
        """The row position of the first impression that is open; None if there is none."""
        pending = self._pending
        if pending.open == 0:
            return None
        first = next(pending.rows.slices(pending.first_open, pending.first_open + 1))
        return row_position(first, 0)

    @property
    def oldest_open(self) -> int:
        """The least `ts` of an open impression, FOREVER if there is none."""
        return self._pending.oldest_open

    @property
    def retain_until(self) -> int:
        """The newest time, ms, of an impression for which the rows read until now may matter.

        It is the greatest `ts` of an accepted impression, or of one that an early click may still
        meet. Once the join's watermark has passed it by W + max(H, D), no such impression is known
        any more, and a restart does not need these rows.
        """
        return max(self._pending.newest.ts, self._early.newest + self._kernel_settings.lateness)

    @property
    def bytes(self) -> int:
        """Bytes of ring, index and early clicks, counted at capacity, rows not included."""
        return self._pending.nbytes + self._early.nbytes

    @property
    def row_bytes(self) -> int:
        """Bytes in memory of the impressions' rows that are kept for emission or correction."""
        return self._pending.rows.bytes_in_memory

    @property
    def spilled_bytes(self) -> int:
        """Bytes of such rows that were moved out of memory."""
        return self._pending.rows.bytes_moved

    def state(self) -> JoinState:
        """Everything needed to go on exactly from here, see `restore`."""
        return JoinState(
            known=known_batch(self._pending.known()),
            rows=self._pending.needed_rows(),
            waiting=self._early.batch(),
            metadata=self.metadata(),
        )

    def metadata(self) -> dict[str, Any]:
        """The part of `state` that does not grow with what is known, fit for JSON."""
        newest = self._pending.newest
        return {
            "version": STATE_VERSION,
            "join": self._settings.model_dump(mode="json"),
            "sampling": self._sampling.model_dump(mode="json"),
            "open": self._pending.open,
            "open_front": self._pending.newest_open,
            "front": [newest.ts, newest.sequence - self._pending.first_known],
            "marks": self._watermarks.tolist(),
            "tally": [part.tolist() for part in self._tally],
            "breaker": self._breaker.tolist(),
            **self._numbers.to_json(),
        }

    @classmethod
    def restore(
        cls,
        schema: EventSchema,
        settings: JoinSettings,
        sampling: SamplingSettings,
        state: JoinState,
        spill: Spill | None = None,
        today: RuleNumbers = TODAY,
        sizes: Sizes = SIZES,
    ) -> Self:
        """A joiner that goes on exactly as the one whose `state` this is.

        spill: as in the constructor; it need not be the one the state was saved with. today: the
        newest rules there are; those that the state names hold until `reconfigure`. Raises
        ValueError if the state has another version, names a newer rule, or was saved with other
        settings. sizes: as in the constructor.
        """
        metadata = state["metadata"]
        check_metadata(metadata, settings, sampling)
        self = cls(schema, settings, sampling, spill, RuleNumbers.of(metadata, today), sizes)
        self._resume(metadata)
        known = known_entries(state["known"])
        self._pending.restore(known, metadata["open"], state["rows"], self.watermarks.join)
        self._early = EarlyClicks.restore(state["waiting"], sizes)
        return self

    @classmethod
    def without_rows(
        cls,
        schema: EventSchema,
        metadata: dict[str, Any],
        spill: Spill | None = None,
        today: RuleNumbers = TODAY,
    ) -> Self:
        """A joiner as it was at an earlier point, from its `metadata` there alone.

        It must be given the rows after that point: with the code NOT_ACCEPTED the impressions that
        were not accepted then, with NOT_EARLY the clicks that did not wait. Once no impression up
        to the point is known any more, both joiners go on exactly alike. today: as in `restore`.
        Raises ValueError if the state has another version, names a newer rule, or has other click
        types than the schema.
        """
        join = JoinSettings.model_validate(metadata["join"])
        sampling = SamplingSettings.model_validate(metadata["sampling"])
        check_metadata(metadata, join, sampling)
        self = cls(schema, join, sampling, spill, RuleNumbers.of(metadata, today))
        self._resume(metadata)
        # Impressions that were open then would have held back those after them.
        self._watermarks[FLOOR] = metadata["open_front"]
        self._pending.newest = Newest(metadata["front"][0], -1)
        return self

    def reconfigure(
        self, settings: JoinSettings, sampling: SamplingSettings, numbers: RuleNumbers = TODAY
    ) -> None:
        """Go on with other settings and rules, for all impressions that are not decided yet.

        Raises ValueError if the click types differ.
        """
        if (settings, sampling, numbers) == (self._settings, self._sampling, self._numbers):
            return
        if settings.click_types != self._settings.click_types:
            raise ValueError(
                f"the click types were {self._settings.click_types}, now {settings.click_types}; "
                "other click types need new topics"
            )
        changed = kernel_settings(settings, sampling, numbers)
        if settings.correction_horizon:
            corrected = self._settings.correction_horizon > 0
            first = self._kernel_settings.corrects_from if corrected else self._pending.first_open
            changed = changed._replace(corrects_from=first)
        self._settings, self._sampling = settings, sampling
        self._numbers, self._kernel_settings = numbers, changed
        self._pending.reconfigure(changed.known_span, changed.corrects_from, self.watermarks.join)
        self._labeller.change_rate(self._pending.first_open, sampling.keep_rate)

    def set_counters(self, metadata: dict[str, Any]) -> None:
        """Take the counts of a joiner's `metadata`."""
        for part, saved in zip(self._tally, metadata["tally"], strict=True):
            part[:] = saved

    def _resume(self, metadata: dict[str, Any]) -> None:
        self._watermarks[:] = metadata["marks"]
        self._pending.newest = Newest(*metadata["front"])
        self._breaker[:] = metadata["breaker"]
        self.set_counters(metadata)

    def _new_report(self, impressions: int, clicks: int) -> StepReport:
        referred = clicks + int(self._early.queue.cursor[USED])
        return StepReport(
            accepted=np.empty(impressions, np.uint8),
            early=np.empty(clicks, np.int32),
            rejects=np.empty((impressions + referred, 2), np.int64),
            late=np.empty((referred, 2), np.int64),
            corrections=np.empty((clicks, 3), np.int64),
            filled=np.zeros(4, np.int64),
        )
