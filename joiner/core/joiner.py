"""The joiner: impressions and clicks in, labelled examples and facts out. No clock, no I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from joiner.core.breaker import BreakerState, breaker_state, new_breaker
from joiner.core.early_clicks import USED, EarlyClicks
from joiner.core.kernel_types import (
    CORRECTED,
    EARLY,
    Idle,
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
from joiner.core.pending import Pending
from joiner.core.row_store import Spill
from joiner.core.state import STATE_VERSION, JoinState, check_plain, known_batch, known_entries
from joiner.core.step_input import StepReader
from joiner.settings import JoinSettings, SamplingSettings
from streams.arrow_batches import empty_batch
from streams.compute.arrays import I64, U8
from streams.deadletter import DeadLetter
from streams.events import NEVER
from streams.position import RowPosition, row_position
from streams.rules import TODAY, RuleNumbers
from streams.schema import EventSchema

FLOOR = 2  # index into a joiner's marks


class Front(NamedTuple):
    """The greatest `ts` of an accepted impression, and the sequence number of the last with it."""

    ts: int
    number: int


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
        self,
        schema: EventSchema,
        settings: JoinSettings,
        sampling: SamplingSettings,
        spill: Spill | None = None,
        numbers: RuleNumbers = TODAY,
    ) -> None:
        """spill: where rows wait that are too many for memory; None: all stay there. numbers: of
        the rules to go by.

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
        self._rules = kernel_settings(settings, sampling, numbers)
        # The two watermarks, and until when a rebuilt joiner's first impressions are held back.
        self._marks = np.array([NEVER, NEVER, NEVER], np.int64)
        self._front = Front(NEVER, -1)
        self._tally = empty_tally(len(schema.click_types))
        self._breaker = new_breaker()
        self._pending = Pending(
            schema.impressions, self._rules.known_span, self._rules.corrects_from, spill
        )
        self._early = EarlyClicks(schema.clicks)
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
        """Take the events of a step, one by one, in `order`; give all that follows from them.

        impressions, clicks: `EventSchema.impressions` and `.clicks`. order: 0 for the next
        impression row, 1 for the next click row, 2 and 3 for the end of the impressions and of
        the clicks (each once, after the source's last row), and the further codes of `rules`.
        clocks: the times, ms, by which each impression and each click moves its source's
        watermark; default: `ts`. How events are divided into steps changes nothing but the
        division of the output.

        Raises ValueError if the batches and the order do not fit together; OSError if rows cannot
        be moved out of memory, after which the joiner is of no use: its output is lost.
        """
        events = self._reader.read(impressions, clicks, order, clocks, self._marks)
        self._pending.reserve(impressions.num_rows, self.watermarks.join)
        self._early.reserve(clicks.num_rows)
        report = self._new_report(impressions.num_rows, clicks.num_rows)
        start = self._pending.first_open
        join(
            events,
            self._rules,
            self._marks,
            self._pending.ring,
            self._early.queue,
            self._tally,
            self._breaker,
            report,
        )
        accepted = report.accepted.view(np.bool_)
        whole = bool(accepted.all())
        self._advance_front(events.impression_ts[accepted])
        self._pending.append(impressions if whole else impressions.filter(pa.array(accepted)))
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

    def lift(self, idle: Idle) -> JoinOutput:
        """Logs that are idle do not hold the watermark back. idle: bits of `rules`."""
        return self.process(*self._nothing, idle_advances(idle))

    def is_held_back(self, idle: Idle) -> bool:
        """Whether `lift` would change a watermark, were the breaker closed."""
        impressions, clicks, _ = self._marks.tolist()
        behind = Idle.IMPRESSIONS if impressions < clicks else Idle.CLICKS
        return behind in idle and impressions != clicks

    def count_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Enter rows that were rejected at the edge into the ledger."""
        if letters:
            clicks = Counter(x.click_type or "" for x in letters if x.source == "clicks")
            self.count_rejected(sum(x.source == "impressions" for x in letters), clicks)

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
        return ledger_of(self._tally, self._pending.open, self._settings.click_types)

    @property
    def delays(self) -> DelayHistogram:
        """The delays of the clicks of type `click` so far."""
        matched, late = self._tally.delays.copy()
        return DelayHistogram(DELAY_EDGES, matched, late)

    @property
    def watermarks(self) -> Watermarks:
        """Both sources' watermarks at this moment."""
        impressions, clicks, _ = self._marks.tolist()
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
    def undecided(self) -> RowPosition | None:
        """The place of the first impression that is open."""
        pending = self._pending
        rows = pending.rows.slices(pending.first_open, min(pending.first_open + 1, pending.next))
        return next((row_position(first, 0) for first in rows), None)

    @property
    def oldest_open(self) -> int:
        """The least `ts` of an open impression, FOREVER if there is none."""
        return self._pending.oldest_open

    @property
    def matters_until(self) -> int:
        """The watermark, ms, that W + max(H, D) after it makes all that was read until now, and
        every impression a waiting click may meet, unknown."""
        return max(self._front.ts, self._early.newest + self._rules.lateness)

    @property
    def bytes(self) -> int:
        """Bytes of ring, index and waiting clicks, counted at capacity, rows not included."""
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
            plain=self.plain(),
        )

    def plain(self) -> dict[str, Any]:
        """The part of `state` that does not grow with what is known, fit for JSON."""
        return {
            "version": STATE_VERSION,
            "join": self._settings.model_dump(mode="json"),
            "sampling": self._sampling.model_dump(mode="json"),
            "open": self._pending.open,
            "open_front": self._open_front(),
            "front": [self._front.ts, self._front.number - self._pending.first_known],
            "marks": self._marks.tolist(),
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
    ) -> Self:
        """A joiner that goes on exactly as the one whose `state` this is.

        spill: as in the constructor; it need not be the one the state was saved with. today: the
        newest rules there are; those that the state names hold until `adopt`. Raises ValueError
        if the state has another version, names a newer rule, or was saved with other settings.
        """
        plain = state["plain"]
        check_plain(plain, settings, sampling)
        self = cls(schema, settings, sampling, spill, RuleNumbers.of(plain, today))
        self._resume(plain)
        known = known_entries(state["known"])
        self._pending.restore(known, plain["open"], state["rows"], self.watermarks.join)
        self._early = EarlyClicks.restore(state["waiting"])
        return self

    @classmethod
    def without_rows(
        cls,
        schema: EventSchema,
        plain: dict[str, Any],
        spill: Spill | None = None,
        today: RuleNumbers = TODAY,
    ) -> Self:
        """A joiner as it was at a point of which nothing is known any more, from its `plain`.

        It goes on exactly as that one, with the rows after that point, for every event that
        matters after the last of its impressions is no longer known: as PASSED the impressions
        that one did not accept, as MET the clicks it did not let wait. today: as in `restore`.
        Raises ValueError if the state has another version, names a newer rule, or has other click
        types than the schema.
        """
        join = JoinSettings.model_validate(plain["join"])
        sampling = SamplingSettings.model_validate(plain["sampling"])
        check_plain(plain, join, sampling)
        self = cls(schema, join, sampling, spill, RuleNumbers.of(plain, today))
        self._resume(plain)
        # Those that were open then would have held back the ones after them.
        self._marks[FLOOR] = plain["open_front"]
        self._front = Front(plain["front"][0], -1)
        return self

    def adopt(
        self, settings: JoinSettings, sampling: SamplingSettings, numbers: RuleNumbers = TODAY
    ) -> None:
        """Go on with other settings, by rules of other numbers, for all impressions that are not
        decided yet.

        Raises ValueError if the click types differ.
        """
        if (settings, sampling, numbers) == (self._settings, self._sampling, self._numbers):
            return
        if settings.click_types != self._settings.click_types:
            raise ValueError(
                f"the click types were {self._settings.click_types}, now {settings.click_types}; "
                "other click types need new topics"
            )
        before, rules = self._rules, kernel_settings(settings, sampling, numbers)
        if settings.correction_horizon:
            old = self._settings.correction_horizon
            first = before.corrects_from if old else self._pending.first_open
            rules = rules._replace(corrects_from=first)
        self._settings, self._sampling = settings, sampling
        self._numbers, self._rules = numbers, rules
        self._pending.reconfigure(rules.known_span, rules.corrects_from, self.watermarks.join)
        self._labeller.change_rate(self._pending.first_open, sampling.keep_rate)

    def recount(self, plain: dict[str, Any]) -> None:
        """Take the counts of a `plain` state."""
        for part, saved in zip(self._tally, plain["tally"], strict=True):
            part[:] = saved

    def _resume(self, plain: dict[str, Any]) -> None:
        self._marks[:] = plain["marks"]
        self._front = Front(*plain["front"])
        self._breaker[:] = plain["breaker"]
        self.recount(plain)

    def _advance_front(self, ts: I64) -> None:
        """ts: of the impressions just accepted, not in the pending ones' rows yet."""
        if len(ts) and (newest := int(ts.max())) >= self._front.ts:
            last = len(ts) - 1 - int(np.argmax(ts[::-1]))
            self._front = Front(newest, self._pending.next - len(ts) + last)

    def _open_front(self) -> int:
        """The greatest time of an open impression, NEVER if there is none."""
        pending = self._pending
        if self._front.number >= pending.first_open:
            return self._front.ts
        # The newest of all is decided, and so are all before it: few are left.
        ts = pending.entries(pending.first_open, pending.next)["ts"]
        return max(int(ts.max(initial=NEVER)), NEVER)

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
