"""Rows malformed on purpose: every way in which the simulator breaks a row, by format."""

from typing import get_args

import numpy as np

from streams.compute.arrays import I64
from streams.deadletter import Source
from streams.schema import MAX_ID_BYTES
from streams.simulator.traffic import MALFORMED, Rows

LOGS: tuple[Source, ...] = get_args(Source)

_ID = b'"impression_id":"%(id)b"'
_TS = b'"ts":%(ts)b'
_LONG = b"%(id)b" * (MAX_ID_BYTES // 16 + 1)
_ANY = {
    "cut_short": b"{" + _ID + b',"ts"',
    "not_an_object": b"[{" + _ID + b"," + _TS + b",%(rest)b}]",
    "two_objects": (b"{" + _ID + b"," + _TS + b",%(rest)b}") * 2,
    "invalid_utf8": b'{"impression_id":"%(id)b\xff",' + _TS + b",%(rest)b}",
    "missing_id": b"{" + _TS + b",%(rest)b}",
    "null_id": b'{"impression_id":null,' + _TS + b",%(rest)b}",
    "empty_id": b'{"impression_id":"",' + _TS + b",%(rest)b}",
    "long_id": b'{"impression_id":"' + _LONG + b'",' + _TS + b",%(rest)b}",
    "number_as_id": b'{"impression_id":12345,' + _TS + b",%(rest)b}",
    "missing_ts": b"{" + _ID + b",%(rest)b}",
    "negative_ts": b"{" + _ID + b',"ts":-%(ts)b,%(rest)b}',
    "fraction_as_ts": b"{" + _ID + b',"ts":%(ts)b.5,%(rest)b}',
    "text_as_ts": b"{" + _ID + b',"ts":"%(ts)b",%(rest)b}',
    "huge_ts": b"{" + _ID + b',"ts":%(ts)b%(ts)b,%(rest)b}',
}

# What each kind of malformed NDJSON row looks like: the id is 16 bytes, the rest its members.
NDJSON: dict[Source, dict[str, bytes]] = {
    "impressions": _ANY | {"text_as_features": b"{" + _ID + b"," + _TS + b',"features":"none"}'},
    "clicks": _ANY | {"unknown_type": b"{" + _ID + b"," + _TS + b',"type":"sneeze"}'},
}

# A Parquet column has one type, so less can be wrong with a row: kind → column, value.
PARQUET: dict[str, tuple[str, str | int | None]] = {
    "null_id": ("impression_id", None),
    "empty_id": ("impression_id", ""),
    "long_id": ("impression_id", "x" * (MAX_ID_BYTES + 1)),
    "null_ts": ("ts", None),
    "negative_ts": ("ts", -1),
}


def names(log: Source, parquet: bool) -> tuple[str, ...]:
    """The kinds of malformed rows that a log can have."""
    return tuple(PARQUET) if parquet else tuple(NDJSON[log])


def kinds(rows: Rows, count: int) -> I64:
    """Which of `count` kinds each row is broken in, −1 for good rows."""
    return np.where(rows["role"] == MALFORMED, rows["fault"].astype(np.int64) % count, -1)
