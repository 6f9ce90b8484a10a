"""What a new owner makes of a labelled partition whose beginning was deleted."""

import pytest

from joiner.protocol.config import Beginnings, PartitionConfig
from joiner.protocol.partition import JoinPartition
from joiner.protocol.recovery import last_block
from joiner.settings import JoinSettings, SamplingSettings
from streams.errors import DataError
from streams.labelled_log import Block, Claim, Entry, RecoveryPoint
from streams.schema import EventSchema

START = RecoveryPoint(0, 0, (0, -1), (0, -1))


def block(offset: int, claim: int, seen: int) -> Entry:
    """A block without examples or a cut."""
    made = Block(
        writer=f"writer {claim}",
        claim=claim,
        seen=seen,
        number=offset,
        recovery_point=START,
        rows=0,
        complete=True,
        cut=None,
    )
    return Entry(offset, made)


def test_a_claim_that_was_deleted_is_known_by_the_blocks_after_it() -> None:
    """Of three writers the first woke up after the second had claimed, at offset 3."""
    found = last_block([block(4, claim=3, seen=3), block(5, claim=0, seen=2)], 4, 4)
    assert found is not None
    assert found.offset == 4
    late = last_block([block(5, claim=0, seen=2), block(6, claim=3, seen=4)], 5, 5)
    assert late is not None
    assert late.offset == 6


def test_a_writer_that_cannot_see_whether_it_was_superseded_stops() -> None:
    setup = PartitionConfig(EventSchema((), ("click",)), JoinSettings(), SamplingSettings())
    machine = JoinPartition(setup, "me")
    machine.start()
    machine.claimed(0, Beginnings(0, 0, 0))
    machine.labelled([Entry(0, Claim("me"))], 0)
    machine.advance(flush=True)
    machine.advance(flush=True)
    machine.acknowledged(7)
    with pytest.raises(DataError, match="messages from offset 1 on were deleted"):
        machine.labelled([block(4, claim=3, seen=3)], 1)
