"""The edge: what comes in, checked and typed, before anything is joined or learned.

    files ── gunzip, lines ──┬─ ndjson ─┐
                             ├─ csv ────┼─ validate ── guard ──┐
                             └─ parquet ┘                      ├─ merge ── steps
                             (the other log, the same way) ────┘
    rows that are refused ── deadletter

The names that other rooms use:

- `streams.schema`: `EventSchema`, `Field`, the Arrow schemas of all records
- `streams.files.logs`: `open_log`, `discover`; a `Log` is a stream of `streams.record.Chunk`s
- `streams.merge`: `merged` makes `Step`s of the two logs, in the order of their times
- `streams.files.clock_guard`: `GuardSettings`, against clocks that run ahead
- `streams.deadletter`: `DeadLetter`, `DeadLetterWriter`
- `streams.kafka`: records from Kafka in chunks, for workers (a room of its own)
- `streams.spill`: `SpillSettings`, `FileSpill`, for batches that memory has no room for
- `streams.errors`: `DataError`, when a file as a whole cannot be read
- `streams.duration`, `streams.compute.jit`: the settings' durations, the one way to compile kernels
"""
