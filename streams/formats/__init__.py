"""Log files of each format become rows: NDJSON, CSV, Parquet; each refused row is told."""
