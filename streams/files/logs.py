"""Log files: finding them, and reading them as one stream of accepted rows and dead letters."""

import glob
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from streams.deadletter import Source
from streams.errors import DataError
from streams.files.clock_guard import Guard, GuardSettings
from streams.formats.csv import read_csv
from streams.formats.ndjson import read_ndjson
from streams.formats.options import BLOCK_BYTES, MAX_BLOCK_ROWS, ReadOptions
from streams.formats.parquet import read_parquet
from streams.position import ReadCursor
from streams.record import FileOrigin, ParsedRows, RecordType, RowChunk
from streams.rules import TODAY, RuleNumbers
from streams.schema import EventSchema
from streams.validate import validate

ENDINGS = (".ndjson", ".ndjson.gz", ".parquet", ".csv", ".csv.gz")

_WHAT_TO_GIVE = f"Give a file, a folder or a glob of {', '.join(ENDINGS)}"


def discover(path: str | Path) -> tuple[Path, ...]:
    """The log files that a path names, in the order in which they are read: by path.

    path: a file, a folder (its own files with one of `ENDINGS`, except hidden ones), or a
    glob. Raises DataError if there is none, if one that is named (also by a glob) has another
    ending, or if one cannot be opened.
    """
    named = Path(path)
    try:
        if named.is_dir():
            entries = (p for p in named.iterdir() if not p.name.startswith("."))
            parsed = [p for p in entries if p.name.endswith(ENDINGS) and p.is_file()]
        else:
            parsed = [named] if named.exists() else [Path(p) for p in glob.glob(str(path))]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}. Check the path and its rights.") from error
    if not parsed:
        raise DataError(f"{path}: there are no log files. {_WHAT_TO_GIVE}.")
    for file in parsed:
        if not file.name.endswith(ENDINGS):
            raise DataError(f"{file}: this kind of file is not known. {_WHAT_TO_GIVE}.")
        _open(file)
    return tuple(sorted(parsed))


def _open(file: Path) -> None:
    """Raise DataError now, rather than after hours of reading other files."""
    try:
        file.open("rb").close()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}. Check the path and its rights.") from error


class Log:
    """One log: the files a path names, one after another.

    Iterating gives `RowChunk`s, in the order of the files and their rows; a log is iterated once.
    At most about a block of a file is held. Iteration raises DataError where a file turns out
    to be unreadable, after all rows before that.

    files: in the order of reading; the `src_offset` of a row is the index of its file. after:
    the cursor that the log begins after. rules: by which its rows are judged. bytes_total,
    bytes_read: sizes on disk, to show progress by.
    """

    def __init__(
        self,
        record: RecordType,
        files: tuple[Path, ...],
        guard: GuardSettings,
        after: ReadCursor,
        options: ReadOptions,
        rules: RuleNumbers = TODAY,
    ) -> None:
        self.rules = rules
        self.record = record
        self.files = files
        self.after = after
        self.bytes_total = sum(file.stat().st_size for file in files)
        self.bytes_read = 0
        self._guard = guard
        self._options = replace(options, advance=self._advance)

    def __iter__(self) -> Iterator[RowChunk]:
        names = [str(file) for file in self.files]
        guard = Guard(self._guard, self.record, names, self.after.newest, self.rules.clock)
        try:
            for chunk in self._chunks():
                yield from guard.feed(chunk)
        except DataError:
            yield from guard.finish()
            raise
        yield from guard.finish()

    def _chunks(self) -> Iterator[RowChunk]:
        first, row = self.after.position or (0, 0)
        for src_offset, file in enumerate(self.files):
            if src_offset < first:
                self._advance(file.stat().st_size)
                continue
            for parsed in self._parsed(file, row if src_offset == first else 0):
                origin = FileOrigin(str(file), src_offset)
                yield validate(parsed, self.record, origin, rule=self.rules.accept)

    def _parsed(self, file: Path, after: int) -> Iterator[ParsedRows]:
        read = read_ndjson
        if file.suffix == ".parquet":
            read = read_parquet
        elif file.name.endswith((".csv", ".csv.gz")):
            read = read_csv
        return read(file, self.record, replace(self._options, after=after))

    def _advance(self, size: int) -> None:
        self.bytes_read += size


def open_log(
    path: str | Path,
    schema: EventSchema,
    source: Source,
    *,
    guard: GuardSettings | None = None,
    after: ReadCursor | None = None,
    block_bytes: int = BLOCK_BYTES,
    block_rows: int = MAX_BLOCK_ROWS,
    rules: RuleNumbers = TODAY,
) -> Log:
    """The log at a path: a file, a folder or a glob of `ENDINGS`.

    after: read on from here (`MergedStep.impressions_at`, `.clicks_at`); default: from the start.
    block_bytes, block_rows: how much is read at once; neither changes what comes out. rules: by
    which the rows are judged. Raises DataError as `discover` does.

    >>> import tempfile
    >>> temporary = tempfile.TemporaryDirectory()
    >>> folder = Path(temporary.name)
    >>> text = '{"impression_id": "i1", "ts": 1700000000000}\\n{"impression_id": "i2"}\\n'
    >>> _ = (folder / "clicks.ndjson").write_text(text)
    >>> for chunk in open_log(folder, EventSchema(()), "clicks"):
    ...     print(chunk.rows.num_rows, [dead_letter.reason for dead_letter in chunk.rejected])
    1 ['missing_ts']
    """
    return Log(
        RecordType(source, schema),
        discover(path),
        guard or GuardSettings(),
        after or ReadCursor(),
        ReadOptions(block_bytes, block_rows),
        rules,
    )
