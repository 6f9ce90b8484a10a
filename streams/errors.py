"""What can go wrong that an operator must handle, and how the process ends.

    ClickloopError      exit code 1: the work failed
    ├── ConfigError     exit code 2: the settings or the command line are wrong
    └── DataError       exit code 3: an input cannot be read

Every message says what, where, and what to do. A bad row is none of these: it is a dead letter.
"""


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
