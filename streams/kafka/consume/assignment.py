"""The calls of the transport to a worker when partitions come and go, and checks of both."""

from collections.abc import Mapping
from typing import Protocol

from streams.errors import ClickloopError
from streams.kafka.chunk import Partition


class Owner(Protocol):
    """The worker's side of an assignment. Every rebalance takes all partitions away first."""

    async def on_assigned(
        self, partitions: frozenset[Partition], epoch: int
    ) -> Mapping[Partition, int]:
        """Take over partitions, possibly none; return the offset to read each from.

        A partition that the answer leaves out is read from its committed offset, or from the start
        of the log if it has none. The call may take its time; it is cancelled if the partitions are
        taken away again. No chunk comes before the call has returned. An error ends the worker.
        Each call is followed by a call of `on_revoked`.
        """

    async def on_revoked(self, partitions: frozenset[Partition], epoch: int) -> None:
        """Give partitions up: they are taken away, or the worker stops.

        This is the last moment for `commit_through` with this `epoch`. No chunk comes until the
        next `on_assigned`; the result of a chunk that is being worked on is for nobody.
        """


class LostError(ClickloopError):
    """A partition is to be read from an offset that its log does not hold."""


class MismatchError(ClickloopError):
    """Partitions that belong together went to different workers."""


def check_starts(
    starts: Mapping[Partition, int],
    log_starts: Mapping[Partition, int],
    log_ends: Mapping[Partition, int],
) -> None:
    """Raise LostError, naming every one, if a start lies outside its log."""
    problems = []
    for partition, start in sorted(starts.items()):
        first, end = log_starts[partition], log_ends[partition]
        if start < first:
            problems.append(
                f"{partition}: offset {start} is to be read, but the log begins at {first}: "
                "records were deleted before they were read; raise the topic's retention, and "
                "start from a state that needs none of them"
            )
        elif start > end:
            problems.append(
                f"{partition}: offset {start} is to be read, but the log ends at {end}: the "
                "topic was made anew or lost records; start from a state that belongs to it"
            )
    if problems:
        raise LostError("; ".join(problems))


def check_copartitioned(partitions: frozenset[Partition]) -> None:
    """Raise MismatchError unless every topic has the same partition numbers among `partitions`."""
    numbers: dict[str, set[int]] = {}
    for topic, number in partitions:
        numbers.setdefault(topic, set()).add(number)
    if len({frozenset(each) for each in numbers.values()}) > 1:
        listed = ", ".join(f"{topic}: {sorted(each)}" for topic, each in sorted(numbers.items()))
        raise MismatchError(
            f"this worker was given different partitions of its topics ({listed}); give the "
            "topics the same number of partitions, and let no other program join the group"
        )
