"""The readers of log files: NDJSON, CSV and Parquet become rows, and bad rows dead letters.

    file ── gzip_reader ── lines ──┬─ ndjson ── bad_row_search, duplicate_keys, json_faults
                                   └─ csv ───── bad_row_search
    file ── parquet ── columnar

- `bad_row_search`: finding the bad lines in a block that cannot be read as a whole
- `columnar`: records in Arrow columns, from Parquet or from a message: cast where nothing is lost
- `csv`: reading CSV: one row a line, with a header line; cells become typed values column by
  column
- `duplicate_keys`: lines of JSON that may give a member twice, found by a kernel
- `gzip_reader`: the bytes of a file, unpacked if it is gzipped, in pieces
- `json_faults`: why a line is not a record: the slow, careful look at one line
- `lines`: the lines of a text file, a block at a time
- `ndjson`: reading NDJSON: blocks of whole lines through pyarrow's reader
- `options`: how much readers read at once, and from where
- `parquet`: reading Parquet in batches, row group by row group
"""
