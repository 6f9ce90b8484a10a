"""The join itself: one kernel that walks the events of a step in their order.

An event changes the state, then moves its source's watermark. Then early clicks whose time is over
become orphans, and impressions that are closed are decided, in the order of their arrival: those
whose window is over and, while the breaker is open, its wait besides. All of this is judged after
every event, so where a step begins or ends cannot change a result.

What `join` does for each event stands in pieces that are inlined: a call with arrays costs more
than the whole of some of them.
"""

import numpy as np

from joiner.core.breaker import OPEN, QUIET, count_click, due, judge
from joiner.core.early_clicks import ALIVE, HEAPED, EarlyQueue, enqueue, pop_earliest, unlink
from joiner.core.kernel_types import (
    ADVANCE_CLICKS,
    ADVANCE_IMPRESSIONS,
    BEFORE_IMPRESSION,
    CORRECTED,
    EARLY,
    FORCE_IMPRESSIONS,
    LATE,
    NOT_ACCEPTED,
    NOT_EARLY,
    ORPHAN,
    REJECTED,
    TOO_LATE,
    Events,
    Int,
    KernelSettings,
    StepReport,
)
from joiner.core.ledger import DELAY_EDGES, ClickCount, ImpressionCount, Tally
from joiner.core.ring import (
    AHEAD,
    CLICK_BIAS,
    DECIDED,
    DROPPED,
    FILLED,
    FIRST_KNOWN,
    FIRST_OPEN,
    LABELS,
    NEXT,
    NO_CLICK,
    RECORDED_SHIFT,
    Index,
    Ring,
    find,
    index_of,
    position_of,
    prefetch_entries,
    prefetch_slots,
    slot_value,
)
from joiner.core.sampling import is_kept
from streams.compute.arrays import F64, I64
from streams.compute.jit import inlined, kernel
from streams.events import CLICK, CLICKS_END, FOREVER, IMPRESSION, IMPRESSIONS_END


@kernel
def reject(report: StepReport, reason: Int, reference: Int) -> None:
    """Report a rejected impression row or click."""
    row = report.filled[REJECTED]
    report.rejects[row, 0] = reason
    report.rejects[row, 1] = reference
    report.filled[REJECTED] = row + 1


@kernel
def match_click(
    reference: Int,
    click_type: Int,
    click_ts: Int,
    position: Int,
    settings: KernelSettings,
    ring: Ring,
    tally: Tally,
    report: StepReport,
) -> None:
    """Match a click with the known impression at this position of the ring.

    The click labels the impression, comes late, is a duplicate, or is rejected.
    """
    entries = ring.entries
    counts = tally.clicks[click_type]
    impression_ts = entries["ts"][position]
    delay = click_ts - impression_ts
    if delay < -settings.lateness:
        counts[ClickCount.REJECTED] += 1
        reject(report, BEFORE_IMPRESSION, reference)
        return
    flags = entries["flags"][position]
    label = np.uint32(np.uint32(1) << np.uint32(click_type))
    recorded = np.uint32(label << RECORDED_SHIFT)
    decided = (flags & DECIDED) != 0
    in_span = delay <= settings.label_span
    delay_bin = np.searchsorted(DELAY_EDGES, max(delay, 0), side="right") - 1
    if in_span and not decided:
        if click_type == 0:
            biased = np.uint32(delay + CLICK_BIAS)
            entries["click"][position] = min(entries["click"][position], biased)
        if (flags & label) != 0:
            counts[ClickCount.DUPLICATES] += 1
        else:
            counts[ClickCount.MATCHED] += 1
            if click_type == 0:
                tally.delays[0, delay_bin] += 1
        entries["flags"][position] = flags | label | recorded
    elif (flags & recorded) != 0:
        counts[ClickCount.DUPLICATES] += 1
    else:
        counts[ClickCount.LATE] += 1
        entries["flags"][position] = flags | recorded
        row = report.filled[LATE]
        report.late[row, 0] = reference
        report.late[row, 1] = impression_ts
        report.filled[LATE] = row + 1
        if click_type == 0:
            tally.delays[1, delay_bin] += 1
            capacity = len(entries)
            first = ring.cursor[FIRST_KNOWN]
            sequence = first + (position - first) % capacity
            if in_span and sequence >= settings.corrects_from:
                row = report.filled[CORRECTED]
                report.corrections[row, 0] = sequence
                report.corrections[row, 1] = ring.cursor[FIRST_OPEN]
                report.corrections[row, 2] = click_ts
                report.filled[CORRECTED] = row + 1
                tally.impressions[ImpressionCount.CORRECTIONS] += 1


@kernel
def match_early_clicks(
    lo: np.uint64,
    hi: np.uint64,
    position: Int,
    settings: KernelSettings,
    ring: Ring,
    queue: EarlyQueue,
    tally: Tally,
    report: StepReport,
) -> None:
    """Match the clicks that waited for the impression with this hash, in order of arrival."""
    rows = queue.rows
    k = queue.chains[np.int64(lo & np.uint64(len(queue.chains) - 1)), 0]
    while k >= 0:
        following = rows["next"][k]
        if rows["lo"][k] == lo and rows["hi"][k] == hi:
            click_type = rows["type"][k]
            unlink(queue, k)
            tally.clicks[click_type, ClickCount.WAITING] -= 1
            match_click(-1 - k, click_type, rows["ts"][k], position, settings, ring, tally, report)
        k = following


@kernel
def expire_early_clicks(
    watermark: Int, settings: KernelSettings, queue: EarlyQueue, tally: Tally, report: StepReport
) -> None:
    """Make orphans of early clicks whose `ts` + L the impressions' watermark has passed."""
    rows = queue.rows
    while queue.cursor[HEAPED] > 0:
        k = queue.heap[0]
        click_type = rows["type"][k]
        if click_type >= 0:
            if watermark <= rows["ts"][k] + settings.lateness:
                return
            unlink(queue, k)
            tally.clicks[click_type, ClickCount.WAITING] -= 1
            tally.clicks[click_type, ClickCount.ORPHANS] += 1
            reject(report, ORPHAN, -1 - k)
        pop_earliest(queue)


@kernel
def watermarks_after(
    code: Int, impressions_at: Int, clicks_at: Int, breaker: F64
) -> tuple[Int, Int]:
    """The watermarks after an event that is no row: a source has ended, or is idle."""
    if code == IMPRESSIONS_END:
        return FOREVER, clicks_at
    if code == CLICKS_END:
        return impressions_at, FOREVER
    if code in (ADVANCE_IMPRESSIONS, ADVANCE_CLICKS) and breaker[OPEN] != 0:
        return impressions_at, clicks_at
    if code in (ADVANCE_IMPRESSIONS, FORCE_IMPRESSIONS):
        return max(impressions_at, clicks_at), clicks_at
    return impressions_at, max(clicks_at, impressions_at)


@inlined
def is_known(ring: Ring, position: Int, watermark: Int, known_span: Int) -> bool:
    """Whether the impression at this position of the ring (-1: none) is open or remembered."""
    if position < 0:
        return False
    decided: bool = (ring.entries["flags"][position] & DECIDED) != 0
    remembered: bool = watermark <= ring.entries["ts"][position] + known_span
    return not decided or remembered


@inlined
def take_impression(
    i: Int,
    accepts: bool,
    watermark: Int,
    events: Events,
    settings: KernelSettings,
    index: Index,
    ring: Ring,
    queue: EarlyQueue,
    tally: Tally,
    report: StepReport,
) -> None:
    """Accept impression row `i` into the ring, or count it as a duplicate or a reject.

    accepts: false for a row that is read again and was not accepted.
    """
    lo, hi, ts = events.impression_lo[i], events.impression_hi[i], events.impression_ts[i]
    cursor, entries = ring.cursor, ring.entries
    sequence = cursor[NEXT]
    tally.impressions[ImpressionCount.READ] += 1
    report.accepted[i] = 0
    slot, position = find(index, sequence - index.first, lo, hi)
    if not accepts or is_known(ring, position, watermark, settings.known_span):
        tally.impressions[ImpressionCount.DUPLICATES] += 1
    elif watermark > ts + settings.window:
        tally.impressions[ImpressionCount.REJECTED] += 1
        reject(report, TOO_LATE, i)
    else:
        report.accepted[i] = 1
        last = position_of(sequence, index)
        entries["lo"][last] = lo
        entries["hi"][last] = hi
        entries["ts"][last] = ts
        entries["click"][last] = NO_CLICK
        entries["flags"][last] = 0
        ring.slots[slot] = slot_value(hi, sequence, ring.bits)
        if position < 0:
            cursor[FILLED] += 1
        cursor[NEXT] = sequence + 1
        if queue.cursor[ALIVE] > 0:
            match_early_clicks(lo, hi, last, settings, ring, queue, tally, report)


@inlined
def take_click(
    j: Int,
    may_wait: bool,
    watermark: Int,
    events: Events,
    settings: KernelSettings,
    index: Index,
    ring: Ring,
    queue: EarlyQueue,
    tally: Tally,
    report: StepReport,
) -> None:
    """Match click row `j` with its impression, or let it wait for one that is not known yet.

    may_wait: false for a row that is read again and did not wait.
    """
    lo, hi, ts = events.click_lo[j], events.click_hi[j], events.click_ts[j]
    click_type = np.int64(events.click_type[j])
    tally.clicks[click_type, ClickCount.READ] += 1
    _, position = find(index, ring.cursor[NEXT] - index.first, lo, hi)
    if is_known(ring, position, watermark, settings.known_span):
        match_click(j, click_type, ts, position, settings, ring, tally, report)
    elif may_wait:
        tally.clicks[click_type, ClickCount.WAITING] += 1
        report.early[report.filled[EARLY]] = j
        report.filled[EARLY] += 1
        enqueue(queue, lo, hi, ts, click_type)


@inlined
def closing_span(settings: KernelSettings, breaker: F64) -> Int:
    """How long an impression is open at least, ms: the window, and the wait of an open breaker."""
    return settings.window + settings.breaker.wait if breaker[OPEN] != 0 else settings.window


@inlined
def closing_time(ring: Ring, position: Int, floor: Int, span: Int) -> Int:
    """What the watermark must exceed for the first open impression to close, ms.

    position: of that impression in the ring. The result is FOREVER if no impression is open.
    """
    if ring.cursor[FIRST_OPEN] == ring.cursor[NEXT]:
        return FOREVER
    ts: Int = ring.entries["ts"][position]
    return max(ts, floor) + span


@inlined
def decide_first(ring: Ring, position: Int, settings: KernelSettings, tally: Tally) -> None:
    """Decide the first open impression: a positive, a negative, or one that is sampled out."""
    entries = ring.entries
    flags = entries["flags"][position]
    labels = flags & LABELS
    if (
        labels == 0
        and settings.keep_rate < 1.0
        and not is_kept(entries["lo"][position], settings.salt, settings.keep_rate)
    ):
        tally.impressions[ImpressionCount.SAMPLED_OUT] += 1
        flags |= DROPPED
    elif (labels & np.uint32(1)) != 0:
        tally.impressions[ImpressionCount.POSITIVES] += 1
    else:
        tally.impressions[ImpressionCount.NEGATIVES] += 1
    if labels != 0:
        for click_type in range(len(tally.clicks) - 1):
            label = (labels >> np.uint32(click_type)) & 1
            tally.clicks[click_type, ClickCount.POSITIVES] += label
    entries["flags"][position] = flags | DECIDED
    ring.cursor[FIRST_OPEN] += 1


@kernel
def forget(ring: Ring, watermark: Int, known_span: Int) -> None:
    """Drop impressions from the head of the ring that are decided and no longer known."""
    cursor, ts = ring.cursor, ring.entries["ts"]
    position = cursor[FIRST_KNOWN] % len(ts)
    while cursor[FIRST_KNOWN] < cursor[FIRST_OPEN] and watermark > ts[position] + known_span:
        cursor[FIRST_KNOWN] += 1
        position += 1
        if position == len(ts):
            position = 0


@kernel
def join(
    events: Events,
    settings: KernelSettings,
    watermarks: I64,
    ring: Ring,
    queue: EarlyQueue,
    tally: Tally,
    breaker: F64,
    report: StepReport,
) -> np.uint64:
    """Walk the events in order and change the state in place.

    watermarks: I64 [3], of impressions and clicks, and a time: the first impressions close as if
    one of that time stood before them. breaker: its state, F64 [9].

    The ring and its index must have room for every impression of the step beside those they hold,
    and the queue for every click; so no entry that was known at the start is overwritten before
    the step is reported. The result means nothing, see `prefetch_slots`.
    """
    index = index_of(ring)
    loaded = np.uint64(0)
    impressions_at, clicks_at, floor = watermarks[0], watermarks[1], watermarks[2]
    watermark = min(impressions_at, clicks_at)
    quiet = int(breaker[QUIET])
    judging = due(breaker, settings.breaker) if clicks_at < FOREVER else FOREVER
    first_open = position_of(ring.cursor[FIRST_OPEN], index)
    span = closing_span(settings, breaker)
    closing = closing_time(ring, first_open, floor, span)
    i = 0
    j = 0
    for code in events.order:
        judged = closing == FOREVER
        if code in (IMPRESSION, NOT_ACCEPTED):
            if i % AHEAD == 0:
                loaded ^= prefetch_slots(index, events.impression_lo, i)
            accepts = code == IMPRESSION
            take_impression(
                i, accepts, watermark, events, settings, index, ring, queue, tally, report
            )
            impressions_at = max(impressions_at, events.impression_clock[i] - settings.lateness)
            i += 1
            quiet += 1
            if quiet >= judging:
                judging, quiet = judge(breaker, settings.breaker, quiet), 0
                judged = True
        elif code in (CLICK, NOT_EARLY):
            if j % AHEAD == 0:
                known = ring.cursor[NEXT] - index.first
                loaded ^= prefetch_entries(index, known, events.click_lo, j)
            may_wait = code == CLICK
            take_click(j, may_wait, watermark, events, settings, index, ring, queue, tally, report)
            clicks_at = max(clicks_at, events.click_clock[j] - settings.lateness)
            if events.click_type[j] == 0 and events.click_ts[j] >= watermark:
                judging, quiet = count_click(breaker, settings.breaker, quiet), 0
                judged = True
            j += 1
        else:
            impressions_at, clicks_at = watermarks_after(code, impressions_at, clicks_at, breaker)
            if code == CLICKS_END:
                judging = FOREVER
                breaker[OPEN] = 0.0
                judged = True
        if judged:
            span = closing_span(settings, breaker)
            closing = closing_time(ring, first_open, floor, span)
        watermark = min(impressions_at, clicks_at)
        if queue.cursor[HEAPED] > 0:
            expire_early_clicks(impressions_at, settings, queue, tally, report)
        while watermark > closing:
            decide_first(ring, first_open, settings, tally)
            first_open += 1
            if first_open == len(ring.entries):
                first_open = 0
            closing = closing_time(ring, first_open, floor, span)
    watermarks[0] = impressions_at
    watermarks[1] = clicks_at
    breaker[QUIET] = quiet
    forget(ring, watermark, settings.known_span)
    return loaded
