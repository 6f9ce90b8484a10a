"""Reading Parquet in batches, row group by row group."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from streams.errors import DataError
from streams.formats.columnar import Layout, layout_of, parse_columns
from streams.formats.options import DEFAULT, ReadOptions
from streams.record import ParsedRows, RecordType

_PAGE_BUFFER = 1 << 20  # bytes read ahead of a column; without it, whole columns are held


def read_parquet(
    path: Path, record: RecordType, options: ReadOptions = DEFAULT
) -> Iterator[ParsedRows]:
    """The records of a `.parquet` file, at most `block_rows` at a time.

    Raises DataError if the file is unreadable, after all row groups before the damage, or if a
    column is missing or has a type that cannot be cast without loss.
    """
    try:
        with pq.ParquetFile(path, buffer_size=_PAGE_BUFFER) as file:
            layout = layout_of(path, record, file.schema_arrow)
        with pq.ParquetFile(
            path,
            buffer_size=_PAGE_BUFFER,
            read_dictionary=_dictionaries(layout),
            page_checksum_verification=True,
        ) as file:
            yield from _batches(path, file, layout, options)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: cannot be read as Parquet ({reason}). Check its rights, or make or fetch "
            "the file again."
        ) from error


def _dictionaries(layout: Layout) -> list[str]:
    """The columns to be read as dictionaries."""
    record = layout.record
    return [
        column
        for name, column in layout.columns.items()
        if record.column_types[name] == "string"
        and name not in record.members
        and pa.types.is_string(layout.types[column])
        # Not inside a struct: pyarrow cannot read one there whose dictionary changes on the way.
        and column not in layout.members
    ]


def _batches(
    path: Path, file: pq.ParquetFile, layout: Layout, options: ReadOptions
) -> Iterator[ParsedRows]:
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    row = group = 0
    while group < len(groups) and row + groups[group] <= options.after:
        row += groups[group]
        group += 1
    size, done = path.stat().st_size, 0
    for batch in _blocks(
        file, sorted(set(layout.columns.values())), group, groups, options.block_rows
    ):
        skip = min(max(options.after - row, 0), len(batch))
        numbers = np.arange(row + skip + 1, row + len(batch) + 1)
        row += len(batch)
        options.advance(size * row // file.metadata.num_rows - done)
        done = size * row // file.metadata.num_rows
        if len(numbers):
            yield parse_columns(layout, batch.slice(skip), numbers)


def _blocks(
    file: pq.ParquetFile, columns: list[str], first: int, groups: list[int], rows: int
) -> Iterator[pa.RecordBatch]:
    """The rows of the row groups from `first` on; groups: the rows of each group.

    Raises what pyarrow raises, after all groups before the damaged group.
    """

    def read(run: range) -> Iterator[pa.RecordBatch]:
        yield from file.iter_batches(
            batch_size=rows, row_groups=run, columns=columns, use_threads=False
        )

    for run in _runs(first, groups, rows):
        done = 0
        try:
            for batch in read(run):
                done += len(batch)
                yield batch
        except (pa.ArrowException, OSError):
            # A batch may span groups; then a damaged group takes the whole batch along.
            for group in run:
                for batch in read(range(group, group + 1)):
                    if done < len(batch):
                        yield batch.slice(done)
                    done = max(done - len(batch), 0)
            raise


def _runs(group: int, groups: list[int], rows: int) -> Iterator[range]:
    """The row groups from `group` on, as many at a time as hold `rows`, but at least one.

    pyarrow's memory grows with the number of groups that one iterator reads.
    """
    while group < len(groups):
        end, held = group + 1, groups[group]
        while end < len(groups) and held + groups[end] <= rows:
            held += groups[end]
            end += 1
        yield range(group, end)
        group = end
