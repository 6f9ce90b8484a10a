"""The checkpoint of a replay: training's, and what the joiner must remember beside it."""

from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa

from deploy.replay.pipeline import Pipeline
from deploy.storage.checkpoint import restore_training, training_state
from deploy.storage.checkpoint_store import Encode, Saved
from joiner import Joiner, JoinState
from streams.compute.arrays import I64

_PLACE_COLUMNS = ["src_offset", "src_row"]


def state_of(pipeline: Pipeline) -> tuple[dict[str, Any], dict[str, Encode]]:
    """What `pipeline` must remember but for the learner's table: plain JSON, and arrays by name.

    Copied, so the pipeline may go on while they are encoded. The rows of pending impressions are in
    the log already: their places are enough.
    """
    join = pipeline.joiner.state()
    values, arrays = training_state(pipeline)
    values["join"] = join["metadata"]
    arrays |= {
        "join-known": partial(_ipc, [join["known"]]),
        "join-waiting": partial(_ipc, [join["waiting"]]),
        "join-places": partial(_ipc, [rows.select(_PLACE_COLUMNS) for rows in join["rows"]]),
    }
    return values, arrays


def pending_places(saved: Saved) -> tuple[I64, I64]:
    """File and row, int64, ascending, of each impression whose row the joiner still needs."""
    batches = _batches(saved.arrays["join-places"])
    if not batches:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    table = pa.Table.from_batches(batches)
    return table["src_offset"].to_numpy(), table["src_row"].to_numpy()


def restore(pipeline: Pipeline, saved: Saved, rows: list[pa.RecordBatch]) -> None:
    """Make a fresh `pipeline` the one that was saved.

    rows: those at `pending_places`, in order, read again. Raises ValueError where the settings
    of the parts differ from those they were saved with.
    """
    values, arrays, settings = saved.values, saved.arrays, pipeline.run_settings
    pipeline.joiner = Joiner.restore(
        settings.events,
        settings.join,
        settings.sampling,
        JoinState(
            known=_batches(arrays["join-known"])[0],
            waiting=_batches(arrays["join-waiting"])[0],
            rows=rows,
            metadata=values["join"],
        ),
        pipeline.spill,
        pipeline.rules,
    )
    # What was joined was joined by the rules of then; from here on today's hold.
    pipeline.joiner.reconfigure(settings.join, settings.sampling, pipeline.rules)
    restore_training(pipeline, saved)


def _ipc(batches: list[pa.RecordBatch]) -> bytes:
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    return cast(bytes, sink.getvalue().to_pybytes())


def _batches(data: bytes) -> list[pa.RecordBatch]:
    return list(pa.ipc.open_stream(data)) if data else []
