"""The labelled examples a replay writes."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streams.compute.arrays import F64
from streams.errors import DataError

ROWS_PER_GROUP = 65_536
ROWS_PER_FILE = 2_000_000


class ExamplesWriter:
    """Labelled examples with their progressive prediction `p`, in emission order.

    Files `part-00000.parquet`, … of at most about ROWS_PER_FILE rows. A file being written has
    the suffix `.partial`, so that every `.parquet` is whole.
    """

    def __init__(self, folder: Path, labelled: pa.Schema, keep: int = 0) -> None:
        """Write into `folder`; `labelled` is the schema of the batches to come.

        keep: how many files a resumed run had committed; what was written after them is removed.
        Raises DataError where one of those is missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        missing = [
            path for path in (_part(folder, number) for number in range(keep)) if not path.is_file()
        ]
        if missing:
            raise DataError(
                f"{missing[0]}: is missing, and was written by the checkpoint; bring the file "
                "back, or replay into a new folder"
            )
        for path in folder.iterdir():
            number = path.stem.removeprefix("part-")
            if path.suffix == ".partial" or (number.isdigit() and int(number) >= keep):
                path.unlink()
        self._folder = folder
        self._schema = labelled.append(pa.field("p", pa.float64(), nullable=False))
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._file: pq.ParquetWriter | None = None
        self._file_rows = 0
        self._parts = keep

    def write(self, batch: pa.RecordBatch, p: F64) -> None:
        """Append the rows of `batch` with their predictions, float64, one a row."""
        self._waiting.append(
            pa.RecordBatch.from_arrays([*batch.columns, pa.array(p)], schema=self._schema)
        )
        self._waiting_rows += batch.num_rows
        if self._waiting_rows >= ROWS_PER_GROUP:
            self._flush()

    def commit(self, *, last: bool = False) -> int:
        """Finish the file being written and have it on disk; how many files there are.

        last: nothing will follow; a run without examples gets one empty file then.
        """
        self._flush()
        if last and self._file is None and self._parts == 0:
            self._open()
        self._finish()
        return self._parts

    def _flush(self) -> None:
        if not self._waiting:
            return
        file = self._file or self._open()
        # One dictionary a column and row group, or the encoder falls back to plain values.
        table = pa.Table.from_batches(self._waiting, self._schema).unify_dictionaries()
        file.write_table(table, row_group_size=2 * ROWS_PER_GROUP)
        self._file_rows += self._waiting_rows
        self._waiting, self._waiting_rows = [], 0
        if self._file_rows >= ROWS_PER_FILE:
            self._finish()

    def _open(self) -> pq.ParquetWriter:
        self._file = pq.ParquetWriter(
            self._part.with_suffix(".partial"),
            self._schema,
            compression="lz4",
            # Ids and times hardly repeat: trying a dictionary for them costs more than it saves.
            use_dictionary=[
                f.name
                for f in self._schema
                if pa.types.is_dictionary(f.type) or pa.types.is_list(f.type)
            ],
            write_statistics=["ts"],
        )
        return self._file

    def _finish(self) -> None:
        if self._file is None:
            return
        self._file.close()
        partial = self._part.with_suffix(".partial")
        _sync(partial)
        partial.rename(self._part)
        _sync(self._folder)
        self._file, self._file_rows = None, 0
        self._parts += 1

    @property
    def _part(self) -> Path:
        return _part(self._folder, self._parts)


def _part(folder: Path, number: int) -> Path:
    """The file of examples with this number."""
    return folder / f"part-{number:05d}.parquet"


def _sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
