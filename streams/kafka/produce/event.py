"""One event of a producer, checked as its readers will check it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from streams.deadletter import shown
from streams.errors import DataError
from streams.formats.json_faults import json_fault
from streams.formats.lines import MAX_LINE_BYTES
from streams.record import FEATURES, RecordType
from streams.schema import MAX_ID_BYTES
from streams.validate import EXPECTED_TS, MAX_TS


def encode_event(event: Mapping[str, Any], record: RecordType) -> bytes:
    """The event as JSON. Raises DataError where a reader would refuse it."""
    try:
        text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        line = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"the event cannot be JSON: {error}") from error
    fault = json_fault(line, record)
    detail = next(_faults(event, record), None) if fault is None else fault[1]
    if detail is None and len(line) > MAX_LINE_BYTES:
        detail = f"it has {len(line)} bytes; at most {MAX_LINE_BYTES} are expected"
    if detail is not None:
        raise DataError(f"the event would be refused by its readers: {detail}")
    return line


def _faults(event: Mapping[str, Any], record: RecordType) -> Iterator[str]:
    """What is wrong with the values of an event whose types are right."""
    identity = event.get("impression_id")
    if identity is None or not 1 <= len(identity.encode()) <= MAX_ID_BYTES:
        expected = f"a string of 1 to {MAX_ID_BYTES} bytes"
        yield f"impression_id is {shown(identity)}; {expected} is expected"
    for name in ("ts", "impression_ts") if record.source == "clicks" else ("ts",):
        ts = event.get(name)
        if (name == "ts" and ts is None) or (ts is not None and not 0 <= ts <= MAX_TS):
            yield f"{name} is {shown(ts)}; {EXPECTED_TS} is expected"
    if record.source == "clicks":
        types, kind = record.schema.click_types, event.get("type")
        if kind is not None and kind not in types:
            yield f"type is {shown(kind)}; one of {', '.join(types)} is expected"
        return
    weight, served_p = event.get("weight"), event.get("served_p")
    if weight is not None and not weight > 0:
        yield f"weight is {shown(weight)}; a positive number is expected"
    if served_p is not None and not 0 <= served_p <= 1:
        yield f"served_p is {shown(served_p)}; a number from 0 to 1 is expected"
    features = event.get(FEATURES)
    if features is None:
        yield f"{FEATURES} is missing; an object is expected"
        return
    for field in record.fields:
        value = features.get(field.name)
        if field.type == "list" and value is not None and None in value:
            yield f"{field.column} is {shown(value)}; a list of strings is expected"
