"""The effects that a partition's joiner asks its driver to carry out, in their order."""

from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa

from streams.deadletter import DeadLetter
from streams.labelled_log import Header


@dataclass(frozen=True, slots=True)
class Publish:
    """Append to the labelled partition: the header, and the Arrow message (empty for a claim)."""

    header: Header
    value: bytes


@dataclass(frozen=True, slots=True)
class ReadLabelled:
    """Read the labelled partition's messages of the offsets from `start` to before `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Seek:
    """Read both input logs from these offsets on."""

    impressions: int
    clicks: int


@dataclass(frozen=True, slots=True)
class Report:
    """Send rows to the side outputs, at least once.

    dead_letters: of rows that were rejected before the join. rejected: rows that the join refused
    (REJECTED_SCHEMA). late: late clicks (LATE_SCHEMA).
    """

    dead_letters: tuple[DeadLetter, ...]
    rejected: pa.RecordBatch
    late: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Commit:
    """Nothing before these offsets of the input logs is needed any more."""

    impressions: int
    clicks: int


Effect: TypeAlias = Publish | ReadLabelled | Seek | Report | Commit
