"""The join itself: one kernel that walks the events of a step in their order.

An event changes the state, then moves its source's watermark; then waiting clicks whose time
is over become orphans, and then closed impressions leave the head of the queue: those whose
window is over and, while the breaker is open, a wait besides. As all of it is judged after every
event, where a step begins or ends cannot change a result.
"""

import numpy as np

from joiner.core.breaker import OPEN, QUIET, count_click, due, judge
from joiner.core.early_clicks import ALIVE, HEAPED, Queue, remove_earliest, unlink, wait
from joiner.core.kernel_types import (
    BEFORE_IMPRESSION,
    CLICK,
    CLICKS_END,
    CORRECTED,
    FORCE_IMPRESSIONS,
    FOREVER,
    IMPRESSION,
    IMPRESSIONS_END,
    LATE,
    LIFT_CLICKS,
    LIFT_IMPRESSIONS,
    MET,
    ORPHAN,
    PASSED,
    REJECTED,
    TOO_LATE,
    WAITED,
    Events,
    Facts,
    Int,
    Rules,
    Tally,
)
from joiner.core.ledger import DELAY_EDGES, ClickCount, ImpressionCount
from joiner.core.ring import (
    AHEAD,
    CLICK_BIAS,
    DECIDED,
    DROPPED,
    FILLED,
    LABELS,
    NEXT,
    NO_CLICK,
    RECORDED_SHIFT,
    RETIRED,
    UNDECIDED,
    Ring,
    find,
    index_of,
    slot_value,
    warm_entries,
    warm_slots,
)
from joiner.core.sampling import is_kept
from streams.compute.arrays import F64, I64
from streams.compute.jit import kernel


@kernel
def reject(facts: Facts, reason: Int, reference: Int) -> None:
    """Report a rejected impression row or click."""
    row = facts.filled[REJECTED]
    facts.rejects[row, 0] = reason
    facts.rejects[row, 1] = reference
    facts.filled[REJECTED] = row + 1


@kernel
def settle(
    reference: Int,
    kind: Int,
    ts: Int,
    place: Int,
    rules: Rules,
    ring: Ring,
    tally: Tally,
    facts: Facts,
) -> None:
    """A click of type `kind` meets the known impression at ring position `place`."""
    entries = ring.entries
    counts = tally.clicks[kind]
    shown = entries["ts"][place]
    delay = ts - shown
    if delay < -rules.lateness:
        counts[ClickCount.REJECTED] += 1
        reject(facts, BEFORE_IMPRESSION, reference)
        return
    flags = entries["flags"][place]
    label = np.uint32(np.uint32(1) << np.uint32(kind))
    recorded = np.uint32(label << RECORDED_SHIFT)
    decided = (flags & DECIDED) != 0
    spans = delay <= rules.label_span
    delay_bin = np.searchsorted(DELAY_EDGES, max(delay, 0), side="right") - 1
    if spans and not decided:
        if kind == 0:
            since = np.uint32(delay + CLICK_BIAS)
            entries["click"][place] = min(entries["click"][place], since)
        if (flags & label) != 0:
            counts[ClickCount.DUPLICATES] += 1
        else:
            counts[ClickCount.MATCHED] += 1
            if kind == 0:
                tally.delays[0, delay_bin] += 1
        entries["flags"][place] = flags | label | recorded
    elif (flags & recorded) != 0:
        counts[ClickCount.DUPLICATES] += 1
    else:
        counts[ClickCount.LATE] += 1
        entries["flags"][place] = flags | recorded
        row = facts.filled[LATE]
        facts.late[row, 0] = reference
        facts.late[row, 1] = shown
        facts.filled[LATE] = row + 1
        if kind == 0:
            tally.delays[1, delay_bin] += 1
            capacity = len(entries)
            retired = ring.cursor[RETIRED]
            number = retired + (place - retired) % capacity
            if spans and number >= rules.corrects_from:
                row = facts.filled[CORRECTED]
                facts.corrections[row, 0] = number
                facts.corrections[row, 1] = ring.cursor[UNDECIDED]
                facts.corrections[row, 2] = ts
                facts.filled[CORRECTED] = row + 1
                tally.impressions[ImpressionCount.CORRECTIONS] += 1


@kernel
def resolve(
    lo: np.uint64,
    hi: np.uint64,
    place: Int,
    rules: Rules,
    ring: Ring,
    queue: Queue,
    tally: Tally,
    facts: Facts,
) -> None:
    """The clicks that waited for this impression meet it, in the order of their arrival."""
    rows = queue.rows
    k = queue.chains[np.int64(lo & np.uint64(len(queue.chains) - 1)), 0]
    while k >= 0:
        following = rows["next"][k]
        if rows["lo"][k] == lo and rows["hi"][k] == hi:
            kind = rows["kind"][k]
            unlink(queue, k)
            tally.clicks[kind, ClickCount.WAITING] -= 1
            settle(-1 - k, kind, rows["ts"][k], place, rules, ring, tally, facts)
        k = following


@kernel
def expire(watermark: Int, rules: Rules, queue: Queue, tally: Tally, facts: Facts) -> None:
    """Waiting clicks whose `ts` + L the impressions' watermark has passed become orphans."""
    rows = queue.rows
    while queue.cursor[HEAPED] > 0:
        k = queue.heap[0]
        kind = rows["kind"][k]
        if kind >= 0:
            if watermark <= rows["ts"][k] + rules.lateness:
                return
            unlink(queue, k)
            tally.clicks[kind, ClickCount.WAITING] -= 1
            tally.clicks[kind, ClickCount.ORPHANS] += 1
            reject(facts, ORPHAN, -1 - k)
        remove_earliest(queue)


@kernel
def silent(code: Int, impressions_at: Int, clicks_at: Int, breaker: F64) -> tuple[Int, Int]:
    """The watermarks after an event that is no row: a log has ended, or is idle."""
    if code == IMPRESSIONS_END:
        return FOREVER, clicks_at
    if code == CLICKS_END:
        return impressions_at, FOREVER
    if code in (LIFT_IMPRESSIONS, LIFT_CLICKS) and breaker[OPEN] != 0:
        return impressions_at, clicks_at
    if code in (LIFT_IMPRESSIONS, FORCE_IMPRESSIONS):
        return max(impressions_at, clicks_at), clicks_at
    return impressions_at, max(clicks_at, impressions_at)


@kernel
def join(
    events: Events,
    rules: Rules,
    marks: I64,
    ring: Ring,
    queue: Queue,
    tally: Tally,
    breaker: F64,
    facts: Facts,
) -> np.uint64:
    """Walk the events in order and change the state in place.

    marks: I64 [3], the watermarks of impressions and clicks, and a time: the first impressions
    close as if one of that time stood before them. breaker: its state, F64 [9]. The ring must
    have room for every impression of the step beside those it holds, its index too, and the
    queue for every click; so no entry that was known at the start is overwritten before the step
    is reported.
    """
    slots, bits, cursor = ring.slots, ring.bits, ring.cursor
    entry_lo, entry_hi, entry_ts = ring.entries["lo"], ring.entries["hi"], ring.entries["ts"]
    entry_click, entry_flags = ring.entries["click"], ring.entries["flags"]
    impression_lo, impression_hi = events.impression_lo, events.impression_hi
    impression_ts, accepted = events.impression_ts, facts.accepted
    click_lo, click_hi = events.click_lo, events.click_hi
    click_ts, click_type = events.click_ts, events.click_type
    impression_clock, click_clock = events.impression_clock, events.click_clock
    counts, click_counts, queue_cursor = tally.impressions, tally.clicks, queue.cursor
    window, lateness, known_span = rules.window, rules.lateness, rules.known_span
    kinds, samples = len(click_counts) - 1, rules.keep_rate < 1.0
    capacity = len(entry_ts)
    index = index_of(ring)
    folded = np.uint64(0)
    head = cursor[UNDECIDED] % capacity
    tail = cursor[NEXT] % capacity
    impressions_at, clicks_at, floor = marks[0], marks[1], marks[2]
    watermark = min(impressions_at, clicks_at)
    limits, quiet = rules.breaker, int(breaker[QUIET])
    judging = due(breaker, limits) if clicks_at < FOREVER else FOREVER
    span = window + limits.wait if breaker[OPEN] else window
    closing = max(entry_ts[head], floor) + span if cursor[UNDECIDED] < cursor[NEXT] else FOREVER
    i = 0
    j = 0
    for code in events.order:
        judged = False
        if code in (IMPRESSION, PASSED):
            if i % AHEAD == 0:
                folded ^= warm_slots(index, impression_lo, i)
            lo, hi, ts = impression_lo[i], impression_hi[i], impression_ts[i]
            counts[ImpressionCount.READ] += 1
            accepted[i] = 0
            slot, place = find(index, cursor[NEXT] - index.first, lo, hi)
            if code == PASSED or (
                place >= 0
                and (
                    (entry_flags[place] & DECIDED) == 0 or watermark <= entry_ts[place] + known_span
                )
            ):
                counts[ImpressionCount.DUPLICATES] += 1
            elif watermark > ts + window:
                counts[ImpressionCount.REJECTED] += 1
                reject(facts, TOO_LATE, i)
            else:
                accepted[i] = 1
                entry_lo[tail] = lo
                entry_hi[tail] = hi
                entry_ts[tail] = ts
                entry_click[tail] = NO_CLICK
                entry_flags[tail] = 0
                slots[slot] = slot_value(hi, cursor[NEXT], bits)
                if place < 0:
                    cursor[FILLED] += 1
                if cursor[UNDECIDED] == cursor[NEXT]:
                    closing = max(ts, floor) + span
                cursor[NEXT] += 1
                if queue_cursor[ALIVE] > 0:
                    resolve(lo, hi, tail, rules, ring, queue, tally, facts)
                tail += 1
                if tail == capacity:
                    tail = 0
            i += 1
            impressions_at = max(impressions_at, impression_clock[i - 1] - lateness)
            quiet += 1
            if quiet >= judging:
                judging, quiet = judge(breaker, limits, quiet), 0
                judged = True
        elif code in (CLICK, MET):
            if j % AHEAD == 0:
                known = cursor[NEXT] - index.first
                folded ^= warm_entries(index, known, click_lo, j)
            lo, hi, ts = click_lo[j], click_hi[j], click_ts[j]
            kind = np.int64(click_type[j])
            click_counts[kind, ClickCount.READ] += 1
            slot, place = find(index, cursor[NEXT] - index.first, lo, hi)
            if place >= 0 and (
                (entry_flags[place] & DECIDED) == 0 or watermark <= entry_ts[place] + known_span
            ):
                settle(j, kind, ts, place, rules, ring, tally, facts)
            elif code == CLICK:
                click_counts[kind, ClickCount.WAITING] += 1
                facts.waited[facts.filled[WAITED]] = j
                facts.filled[WAITED] += 1
                wait(queue, lo, hi, ts, kind)
            j += 1
            clicks_at = max(clicks_at, click_clock[j - 1] - lateness)
            if kind == 0 and ts >= watermark:
                judging, quiet = count_click(breaker, limits, quiet), 0
                judged = True
        else:
            impressions_at, clicks_at = silent(code, impressions_at, clicks_at, breaker)
            if code == CLICKS_END:
                judging = FOREVER
                breaker[OPEN] = 0.0
                judged = True
        if judged:
            span = window + limits.wait if breaker[OPEN] else window
            closing = (
                max(entry_ts[head], floor) + span if cursor[UNDECIDED] < cursor[NEXT] else FOREVER
            )
        watermark = min(impressions_at, clicks_at)
        if queue_cursor[HEAPED] > 0:
            expire(impressions_at, rules, queue, tally, facts)
        while watermark > closing:
            flags = entry_flags[head]
            labels = flags & LABELS
            if labels == 0 and samples and not is_kept(entry_lo[head], rules.salt, rules.keep_rate):
                counts[ImpressionCount.SAMPLED_OUT] += 1
                flags |= DROPPED
            elif (labels & np.uint32(1)) != 0:
                counts[ImpressionCount.POSITIVES] += 1
            else:
                counts[ImpressionCount.NEGATIVES] += 1
            if labels != 0:
                for one in range(kinds):
                    click_counts[one, ClickCount.POSITIVES] += (labels >> np.uint32(one)) & 1
            entry_flags[head] = flags | DECIDED
            cursor[UNDECIDED] += 1
            head += 1
            if head == capacity:
                head = 0
            closing = (
                max(entry_ts[head], floor) + span if cursor[UNDECIDED] < cursor[NEXT] else FOREVER
            )
    marks[0] = impressions_at
    marks[1] = clicks_at
    breaker[QUIET] = quiet
    oldest = cursor[RETIRED] % capacity
    while cursor[RETIRED] < cursor[UNDECIDED] and watermark > entry_ts[oldest] + known_span:
        cursor[RETIRED] += 1
        oldest += 1
        if oldest == capacity:
            oldest = 0
    return folded
