"""Batches moved out of memory: into files without a name, mapped into the address space.

A file has no name from the beginning. So the system removes the file when nothing refers to its
mapping any more, or when the process ends in whatever way: nothing is ever left over. Pages that
are read come through the system's cache, which shrinks when memory is short.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, Field

from streams.errors import ConfigError


class SpillSettings(BaseModel, frozen=True, extra="forbid"):
    """Where the rows of impressions wait when they are too many for memory."""

    memory_budget: int = Field(
        default=0,
        ge=0,
        le=1 << 24,
        description="How much memory the rows of impressions that wait for their label, or may "
        "still be corrected, take at most; the oldest of more go to files. It changes no result, "
        "and may change at any time. The index stays in memory. MiB, for each partition; range 0 "
        "(unlimited) to 16777216. Source: the memory there is, less the index's 48 bytes for each "
        "known impression.",
    )
    folder: str = Field(
        default="",
        description="The folder on whose disk those files are; they have no names, and are gone "
        "when the process is. A path; default: the system's folder for temporary files. Source: "
        "a fast local disk with room for the rows of a window, and not one that is memory itself.",
    )


class FileSpill:
    """Moves batches into nameless files, one for each move."""

    def __init__(self, budget: int, folder: Path) -> None:
        """budget: bytes of rows that may stay in memory. Raises ConfigError if nothing can be
        written into `folder`."""
        self.budget = budget
        self._folder = folder
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ConfigError(
                f"{folder}: no files can be made here: {error.strerror}; name another [spill] "
                "folder, or check its rights"
            ) from error

    def moved(self, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """The same batches, in a file.

        Raises OSError, which names the folder and its setting, if the disk is full or fails.
        """
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                with pa.ipc.new_stream(file, batches[0].schema) as stream:
                    for batch in batches:
                        stream.write_batch(batch)
                file.flush()
                # The mapping outlives both files: the batches refer to it.
                with pa.memory_map(f"/dev/fd/{file.fileno()}") as mapped:
                    return list(pa.ipc.open_stream(mapped.read_buffer()))
        except OSError as error:
            where = f"[spill] folder {self._folder}"
            raise OSError(error.errno, error.strerror or str(error), where) from error


def spill_of(settings: SpillSettings) -> FileSpill | None:
    """The spill of the settings; None: all rows stay in memory. Raises ConfigError as FileSpill."""
    if settings.memory_budget == 0:
        return None
    return FileSpill(settings.memory_budget << 20, Path(settings.folder or tempfile.gettempdir()))
