"""The edge: what comes in, checked and typed, before anything is joined or learned.

    files ── gzip_reader, lines ──┬─ ndjson ─┐
                                  ├─ csv ────┼─ validate ── clock_guard ──┐
    files ────────────────────────┴─ parquet ┘                            ├─ merge ── steps
    Kafka ── consume ── codec ── validate ────────────────────────────────┘
    rows that are refused ── deadletter

- `compute`: compiled arithmetic that kernels of all rooms share: how they compile, hashes, memory
  lines
- `files`: log files, found, opened and read in order, without rows whose clock runs ahead
- `formats`: the readers of NDJSON, CSV and Parquet: files become rows and dead letters
- `kafka`: messages read in chunks, offsets committed when the worker says so, events produced
- `simulator`: a traffic simulator: two logs whose truth is known, seeded and identical on every
  machine
- `arrow_batches`: record batches made empty, joined, gathered and merged
- `arrow_ipc`: record batches as Kafka messages: one Arrow IPC stream, compressed, many events
- `deadletter`: dead letters: rows that were refused, each with its position and the reason
- `duration`: durations in settings: written `30m`, kept as whole milliseconds
- `errors`: the errors that an operator must handle, and the exit code of each
- `events`: the codes of events in the merged stream, and times beyond all times
- `labelled_log`: messages of the labelled topic: what their headers say, and which of them count
- `merge`: two logs as one stream of events, in the order of their times
- `ndjson_writer`: NDJSON files that a resumed run goes on with
- `position`: where a row stands in its log, and how far a log has been read
- `record`: the columns of a log's records, and the rows that a reader parsed
- `rules`: the numbers of the rules that accept, refuse, close or forget rows
- `schema`: the records of the pipeline as Arrow schemas, built from the declared fields
- `spill`: batches moved out of memory: into files without a name, mapped into the address space
- `validate`: the values of records, checked column by column: the same for every file format
"""

__all__ = [
    "arrow_batches",
    "arrow_ipc",
    "deadletter",
    "duration",
    "errors",
    "events",
    "labelled_log",
    "merge",
    "ndjson_writer",
    "position",
    "record",
    "rules",
    "schema",
    "spill",
]
