"""What a worker is asked and told when partitions come and go."""

from collections.abc import Mapping
from typing import Protocol

from streams.errors import ClickloopError
from streams.kafka.chunk import Partition


class Owner(Protocol):
    """The worker's side of an assignment. Every rebalance takes all partitions away first."""

    async def on_assigned(
        self, partitions: frozenset[Partition], epoch: int
    ) -> Mapping[Partition, int]:
        """These, possibly none, are ours now: where is each to be read from?

        One that the answer leaves out is read from its committed offset, or from the start of the
        log if there is none. May take its time; cancelled if the partitions are taken away again.
        No chunk comes before it has returned. What it raises ends the worker. Each call is followed
        by one of `on_revoked`.
        """

    async def on_revoked(self, partitions: frozenset[Partition], epoch: int) -> None:
        """They are taken away, or the worker stops.

        The last moment to say `commit_through` for `epoch`. No chunk comes until the next
        `on_assigned`; one that is being worked on is for nobody.
        """


class LostError(ClickloopError):
    """A start that the log does not hold."""


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
