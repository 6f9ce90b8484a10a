"""What may be committed, and every offset once: the parts that need no broker."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka.chunk import MessageChunk, Partition
from streams.kafka.consume.assignment import (
    LostError,
    MismatchError,
    check_copartitioned,
    check_starts,
)
from streams.kafka.consume.gap_detector import GapDetector, GapError
from streams.kafka.consume.offsets import CommitOffsets
from tests.support.tiers import tries

A, B = Partition("impressions", 0), Partition("impressions", 1)


@dataclass(frozen=True)
class Line:
    """A record of which only the offset matters."""

    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def chunk(begin: int, end: int, without: frozenset[int] = frozenset()) -> MessageChunk:
    records = [Line(offset) for offset in range(begin, end) if offset not in without]
    return MessageChunk(A, begin, end, records, epoch=1)


@settings(max_examples=tries(200))
@given(
    start=st.integers(0, 20),
    spans=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=20),
    without=st.frozensets(st.integers(0, 60)),
)
def test_every_offset_comes_once_in_order(
    start: int, spans: list[tuple[int, int]], without: frozenset[int]
) -> None:
    followed = GapDetector(A, start)
    seen: list[int] = []
    expected = start
    for back, length in spans:  # each begins at or before what comes next
        begin = max(0, expected - back)
        new = followed.accept(chunk(begin, begin + length, without))
        if begin + length <= expected:
            assert new is None
        else:
            assert new is not None
            assert (new.begin, new.end) == (expected, begin + length)
            seen += [record.offset for record in new.messages]
            expected = begin + length
        assert followed._expected == expected
    assert seen == [offset for offset in range(start, expected) if offset not in without]


@given(start=st.integers(0, 20), skipped=st.integers(1, 20), length=st.integers(1, 5))
def test_a_gap_is_an_error_that_names_it(start: int, skipped: int, length: int) -> None:
    followed = GapDetector(A, start)
    begin = start + skipped
    with pytest.raises(GapError, match=f"impressions-0: offsets {start} to {begin - 1} were"):
        followed.accept(chunk(begin, begin + length))
    assert followed._expected == start, "it stays an error"


def test_a_chunk_without_records_still_counts() -> None:
    followed = GapDetector(A, 5)
    new = followed.accept(chunk(5, 7, frozenset({5, 6})))
    assert new is not None
    assert list(new.messages) == []
    assert followed._expected == 7


@settings(max_examples=tries(200))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["read", "through", "commit", "lose", "gain"]), st.integers(0, 30)
        ),
        max_size=40,
    )
)
def test_only_what_was_said_in_this_epoch_and_was_read_is_due(steps: list[tuple[str, int]]) -> None:
    commits, epoch, owned = CommitOffsets(), 1, True
    commits.begin(epoch, {A: 3, B: 0})
    read, said, stored = 3, 3, 3
    for what, number in steps:
        if what == "read" and owned:
            read = max(read, number)
            commits.read(A, read)
        elif what == "through" and owned and number > read:
            with pytest.raises(ValueError, match="impressions-0"):
                commits.through(A, number, epoch)
        elif what == "through":
            assert commits.through(A, number, epoch) == owned
            assert not commits.through(A, number, epoch - 1), "another epoch"
            said = max(said, number) if owned else said
        elif what == "commit" and owned:
            stored = max(stored, commits.due().get(A, stored))
            commits.done(commits.due())
        elif what == "lose":
            commits.end()
            owned = False
        elif what == "gain" and not owned:
            epoch, owned = epoch + 1, True
            commits.begin(epoch, {A: 3, B: 0})
            read, said, stored = 3, 3, 3
        assert commits.due() == ({A: said} if owned and said > stored else {})


def test_a_late_answer_of_the_broker_counts_for_nothing() -> None:
    commits = CommitOffsets()
    commits.begin(1, {A: 0})
    commits.read(A, 10)
    commits.through(A, 10, 1)
    commits.end()
    commits.done({A: 10})
    commits.begin(2, {A: 0})
    commits.read(A, 10)
    commits.through(A, 10, 2)
    assert commits.due() == {A: 10}


def test_starts_must_lie_in_the_log() -> None:
    check_starts({A: 5, B: 9}, {A: 5, B: 0}, {A: 8, B: 9})
    with pytest.raises(LostError) as raised:
        check_starts({A: 4, B: 10}, {A: 5, B: 0}, {A: 8, B: 9})
    message = str(raised.value)
    assert "impressions-0: offset 4 is to be read, but the log begins at 5" in message
    assert "impressions-1: offset 10 is to be read, but the log ends at 9" in message


def test_topics_must_have_the_same_partitions() -> None:
    clicks = Partition("clicks", 0)
    check_copartitioned(frozenset())
    check_copartitioned(frozenset({A, B}))
    check_copartitioned(frozenset({A, clicks}))
    with pytest.raises(MismatchError, match=r"clicks: \[0\], impressions: \[0, 1\]"):
        check_copartitioned(frozenset({A, B, clicks}))
