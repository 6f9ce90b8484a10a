"""Log files of each format become rows: NDJSON, CSV, Parquet; each refused row is told.

- `bad_row_search`: finding the bad lines in a block that cannot be read as a whole
- `columnar`: records in Arrow columns, from Parquet or from a message: cast where nothing is lost
- `csv`: reading CSV: one row a line, with a header line; cells become typed values column by
  column
- `duplicate_keys`: which lines of JSON may give a member twice: no decoder at hand says so
  quickly
- `gzip_reader`: the bytes of a file, unpacked if it is gzipped, in pieces
- `json_faults`: why a line is not a record: the slow, careful look at one line that could not be
  read
- `lines`: the lines of a text file, a block at a time
- `ndjson`: reading NDJSON: blocks of whole lines through pyarrow's reader
- `parquet`: reading Parquet in batches, row group by row group
"""
