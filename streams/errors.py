"""What can go wrong that an operator must handle, and how the process ends.

    ClickloopError      exit code 1: the work failed
    ├── ConfigError     exit code 2: the settings or the command line are wrong
    └── DataError       exit code 3: an input cannot be read

Every message says what went wrong, where, and what to do. A bad row is no error: it becomes a dead
letter.
"""

import errno


class ClickloopError(Exception):
    """The work failed. The message is for an operator, complete without a traceback."""

    exit_code = 1


class ConfigError(ClickloopError):
    """Settings or arguments that cannot work, all of them listed."""

    exit_code = 2


class DataError(ClickloopError):
    """An input that is missing, unreadable, damaged, or has the wrong columns.

    What had been read before it was raised stays valid.
    """

    exit_code = 3


def explained(error: OSError) -> str:
    """What the operating system refuses, for an operator: where, what, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; free space and run again"
    return f"{where}{error.strerror or error}; check the path and its rights"
