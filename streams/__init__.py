"""The edge: what comes in, checked and typed, before anything is joined or learned.

    files ── gunzip, lines ──┬─ ndjson ─┐
                             ├─ csv ────┼─ validate ── guard ──┐
                             └─ parquet ┘                      ├─ merge ── steps
                             (the other log, the same way) ────┘
    rows that are refused ── deadletter

- `compute`: compiled arithmetic that kernels of all rooms share: how they compile, hashes, memory
  lines
- `files`: log files, found, opened and read in order; rows whose clock runs ahead are refused
- `formats`: log files of each format become rows: NDJSON, CSV, Parquet; each refused row is told
- `kafka`: Kafka: records in chunks, offsets that are committed when we say so, sends that fail
  loudly
- `simulator`: A traffic simulator: two logs whose truth is known, seeded and identical on every
  machine
- `arrow_batches`: small helpers over Arrow record batches
- `arrow_ipc`: record batches as Kafka messages: one Arrow IPC stream, compressed, many events
- `deadletter`: dead letters: rows that were refused, each with its position and the reason
- `duration`: durations in settings: written `30m`, kept as whole milliseconds
- `errors`: what can go wrong that an operator must handle, and how the process ends
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
