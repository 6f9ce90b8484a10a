"""What a joiner must remember, as record batches and values fit for JSON."""

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joiner.core.ring import ENTRY
from joiner.settings import JoinSettings, SamplingSettings

STATE_VERSION = 2
_COLUMNS = {"lo": "hash_lo", "hi": "hash_hi", "ts": "ts", "click": "click", "flags": "flags"}


class JoinState(TypedDict):
    """Everything a joiner must remember.

    known: the ring's entries (hash_lo, hash_hi, ts, click, flags), open impressions last. rows: the
    impressions' rows that are still needed, which are those of the last entries. waiting: the
    early clicks. metadata: version, settings, rules, counts, watermarks, breaker: fit for JSON.
    """

    known: pa.RecordBatch
    rows: list[pa.RecordBatch]
    waiting: pa.RecordBatch
    metadata: dict[str, Any]


def known_batch(entries: npt.NDArray[Any]) -> pa.RecordBatch:
    """The ring's entries, ENTRY [known], as a batch that shares no memory with them."""
    columns = [pa.array(entries[field].copy()) for field in _COLUMNS]
    return pa.RecordBatch.from_arrays(columns, list(_COLUMNS.values()))


def known_entries(batch: pa.RecordBatch) -> npt.NDArray[Any]:
    """The ring's entries, ENTRY [known], from the batch `known_batch` gave."""
    entries = np.zeros(batch.num_rows, ENTRY)
    for field, name in _COLUMNS.items():
        entries[field] = batch.column(name).to_numpy()
    return entries


def check_metadata(
    metadata: dict[str, Any], settings: JoinSettings, sampling: SamplingSettings
) -> None:
    """Raise ValueError if a state is of another version or was saved with other settings."""
    if metadata["version"] != STATE_VERSION:
        raise ValueError(
            f"the joiner's state has version {metadata['version']}, this program reads "
            f"{STATE_VERSION}; use the program that saved it, or start afresh"
        )
    saved = (
        JoinSettings.model_validate(metadata["join"]),
        SamplingSettings.model_validate(metadata["sampling"]),
    )
    if saved != (settings, sampling):
        raise ValueError(
            f"the joiner's state was saved with {saved[0]!r} {saved[1]!r}, not with "
            f"{settings!r} {sampling!r}; resume with the same settings, or start afresh"
        )
