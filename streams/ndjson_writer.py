"""NDJSON files that a resumed run goes on with."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from streams.errors import DataError


class NdjsonWriter:
    """Appends objects to a file, one line each. Use as a context manager.

    keep: how many bytes of an existing file to keep (those a run had written by its checkpoint);
    the rest is cut off. Raises DataError if the file has fewer bytes, OSError where the disk does.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        size = path.stat().st_size if path.is_file() else 0
        if size < keep:
            raise DataError(
                f"{path}: has {size} bytes, and had {keep} at the checkpoint; bring the file back, "
                "or replay into a new folder"
            )
        self._file = path.open("r+b" if keep else "wb")
        self._file.truncate(keep)
        self._file.seek(keep)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append the rows in their order; they are flushed when this returns."""
        for row in rows:
            # File names may hold bytes that are not text; JSON can still name them.
            text = json.dumps(row, ensure_ascii=False)
            self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()

    def commit(self) -> int:
        """Have everything on disk. Returns the bytes in the file: the `keep` of a resumed run."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
