"""How far a learner has come."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """The learner's progress, with which a serving version describes itself.

    examples: how many were learned from. ts: the greatest event time among them, ms. place: where
    in its log the impression of the last one is: (file, row), or (offset, row) in its partition.
    """

    examples: int = 0
    ts: int | None = None
    place: tuple[int, int] | None = None
