"""Durations in settings: written `30m`, kept as whole milliseconds."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def milliseconds(value: object) -> object:
    """Milliseconds of a duration such as `250ms`, `10s`, `30m`, `2h` or `1.5d`.

    Integers pass as milliseconds. Raises ValueError for any other string.
    """
    if not isinstance(value, str):
        return value
    match = _PATTERN.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write 250ms, 10s, 30m, 2h or 1d")
    return round(float(match[1]) * _UNITS[match[2]])


def readable(ms: int) -> str:
    """The shortest exact way to write `ms` milliseconds: 1800000 gives `30m`."""
    for unit, size in reversed(_UNITS.items()):
        if ms % size == 0 and (ms or unit == "s"):
            return f"{ms // size}{unit}"
    return f"{ms}ms"


Duration = Annotated[int, BeforeValidator(milliseconds), Field(ge=0)]
