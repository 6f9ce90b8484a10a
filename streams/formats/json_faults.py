"""Why a line is not a record: the slow, careful look at one line that pyarrow refuses."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from streams.deadletter import shown
from streams.record import EXPECTED, FEATURES, TIMES, RecordType
from streams.schema import ValueType
from streams.validate import EXPECTED_TS

JSON_WHITESPACE = " \t\r\n"
INT64 = range(-(1 << 63), 1 << 63)
_LONGEST_INT = 400  # digits; a longer one is beyond every type of number
_ONE = "exactly one JSON object a line is expected"

Fault = tuple[str, str]  # reason, detail


@dataclass(frozen=True, slots=True)
class _Token:
    """NaN, Infinity or -Infinity: Python reads them, JSON does not have them."""

    name: str

    def __str__(self) -> str:
        return self.name


class _Object(dict[str, object]):
    """An object that remembers which of its members were given twice."""

    def __init__(self, members: list[tuple[str, object]]) -> None:
        super().__init__()
        self.repeated: set[str] = set()
        for name, value in members:
            if name in self:
                self.repeated.add(name)
            self[name] = value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_constant=_Token,
    parse_int=lambda text: int(text) if len(text) <= _LONGEST_INT else float(text),
)


def json_fault(line: bytes, record: RecordType) -> Fault | None:
    """The reason and the detail if a UTF-8 line is surely not one JSON object of `record`.

    None decides nothing: then pyarrow has to read the line. Readers rely on this: pyarrow refuses
    whatever is a fault here.
    """
    text = line.decode().strip(JSON_WHITESPACE)
    try:
        value, end = _DECODER.raw_decode(text)
        if isinstance(value, _Object) and end == len(text):
            return next(_faults(value, record), None)
    except RecursionError:
        return None
    except json.JSONDecodeError as error:
        return _not_json(text, _position(text, error))
    if not isinstance(value, _Object):
        return "not_one_object", f"the line begins with {shown(text[:1])}; {_ONE}"
    rest = shown(text[end:].lstrip(JSON_WHITESPACE))
    return "not_one_object", f"after the object there is {rest}; {_ONE}"


def unexplained_fault(record: RecordType) -> Fault:
    """The reason and the detail for a line that pyarrow refuses for a cause not found here."""
    what = "its nesting is too deep or a number in it too big"
    return "bad_json", f"the line cannot be read as one of the {record.source}; perhaps {what}"


def _position(text: str, error: json.JSONDecodeError) -> int:
    """Where a text stops being JSON; Python 3.13 names the comma before that, if it is one more."""
    if not error.msg.startswith("Illegal trailing comma"):
        return error.pos
    rest = text[error.pos + 1 :]
    return len(text) - len(rest.lstrip(JSON_WHITESPACE))


def _not_json(text: str, position: int) -> Fault | None:
    if not text.startswith("{"):
        return "not_one_object", f"the line begins with {shown(text[:1])}; {_ONE}"
    if not text.endswith("}"):
        return "not_one_object", f"the object does not end on its line; {_ONE}"
    if "Inf" in text or "NaN" in text:
        return None  # pyarrow reads more spellings of these than Python does
    # The position, not Python's words for the error, which differ between Python versions.
    rest = shown(text[position:])
    return "bad_json", f"character {position + 1} on is not JSON: {rest}; {_ONE}"


def _faults(value: _Object, record: RecordType) -> Iterator[Fault]:
    yield from _members(value, record.members, "")
    if record.source == "impressions":
        features = value.get(FEATURES)
        if FEATURES in value.repeated:
            yield "duplicate_key", f"{FEATURES} is given twice; once is expected"
        if isinstance(features, _Object):
            kinds = {field.name: field.type for field in record.fields}
            yield from _members(features, kinds, FEATURES + ".")
        elif features is not None:
            yield "wrong_type", f"{FEATURES} is {shown(features)}; an object is expected"
    yield from _unreadable(value, "the line")


def _members(value: _Object, kinds: dict[str, ValueType], prefix: str) -> Iterator[Fault]:
    for name, kind in kinds.items():
        if name in value.repeated:
            yield "duplicate_key", f"{prefix}{name} is given twice; once is expected"
        reason = _misfit(value.get(name), kind)
        if reason is not None:
            expected = EXPECTED[kind]
            if reason == "out_of_range":
                expected += " that fits 64 bits"
            if name in TIMES:
                expected = EXPECTED_TS
                reason = "bad_json" if reason == "bad_json" else "bad_ts"
            found = value[name]
            found = str(found) if isinstance(found, _Token) else shown(found)
            yield reason, f"{prefix}{name} is {found}; {expected} is expected"


def _misfit(value: object, kind: ValueType) -> str | None:
    """The reason why a value is not of its kind; None if it is, or is null."""
    if value is None:
        return None
    if isinstance(value, _Token):
        return "bad_json"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind == "float":
            return None if _is_finite(value) else "out_of_range"
        if kind == "int" and isinstance(value, int):
            return None if value in INT64 else "out_of_range"
        return "out_of_range" if kind == "int" and not _is_finite(value) else "wrong_type"
    if kind == "list":
        # A null in a list is readable; that it is not wanted is checked with the values.
        strings = isinstance(value, list) and all(isinstance(v, str | None) for v in value)
        return None if strings else "wrong_type"
    fits = (
        isinstance(value, bool) if kind == "bool" else kind == "string" and isinstance(value, str)
    )
    return None if fits else "wrong_type"


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _unreadable(value: object, path: str) -> Iterator[Fault]:
    """Halves of characters, which pyarrow refuses anywhere, also in members not declared."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _unreadable(name, f"a name in {path}")
            yield from _unreadable(member, name)
    elif isinstance(value, list):
        for item in value:
            yield from _unreadable(item, path)
    elif isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        yield "invalid_utf8", f"{path} holds half of a surrogate pair; whole ones are expected"
