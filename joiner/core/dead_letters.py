"""Dead letters of rows that the join refused: what each reason means, and what to do."""

import json
from collections.abc import Callable

import pyarrow as pa

from joiner.settings import JoinSettings
from streams.deadletter import DeadLetter, Source
from streams.duration import readable


def dead_letters_of(
    rejected: pa.RecordBatch, join: JoinSettings, file: Callable[[Source, int], str]
) -> tuple[DeadLetter, ...]:
    """Dead letters of `JoinOutput.rejected`; file: the name of a source's `src_offset`."""
    details = _details(join)
    return tuple(
        DeadLetter(
            source=row["source"],
            file=file(row["source"], row["src_offset"]),
            src_offset=row["src_offset"],
            src_row=row["src_row"],
            reason=row["reason"],
            detail=details[row["reason"]],
            raw=json.dumps({"impression_id": row["impression_id"], "ts": row["ts"]}),
            click_type=row["type"],
        )
        for row in rejected.to_pylist()
    )


def _details(join: JoinSettings) -> dict[str, str]:
    lateness = readable(join.lateness)
    return {
        "too_late": f"the impression came when its window had closed already: it is more than "
        f"{lateness} out of order; raise [join] lateness if such rows are normal",
        "before_impression": f"the click is more than {lateness} before its impression; compare "
        "the clocks of the two services, or raise [join] lateness",
        "orphan": "no impression with this id came in time: it is missing from the log, or more "
        f"than {lateness} out of order, or no longer known; see [join] lateness and "
        "dedupe_horizon",
    }
