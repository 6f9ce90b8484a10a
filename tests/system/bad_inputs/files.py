"""Files as a whole: what was readable arrives, and the message names the file and what to do."""

import gzip
import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.system.bad_inputs.lines import TIME
from tests.system.bad_inputs.site import GOOD, SHOWN, Kind, Row, Site, shown

HALF = SHOWN // 2
WHOLE = b"".join(GOOD["impressions"])
HEADER = "impression_id,ts,features.ad,features.price,features.tags,features.new\n"

AGAIN = "What was readable before the damage is kept; make or fetch the file again."
RIGHTS = "Check its rights, or make or fetch the file again."
NAMES = "Name it so in the file, or correct the settings."
ORPHAN = (
    "orphan: no impression with this id came in time: it is missing from the log, or more than 5s "
    "out of order, or no longer known; see [join] lateness and dedupe_horizon"
)


def file(name: str, ending: str, content: bytes, *letters: str, **expected: Any) -> Kind:
    """Put `content` in place of the impressions."""

    def spoil(site: Site) -> None:
        site.put("impressions", "bad" + ending, content)

    return Kind(name, "impressions", spoil, letters=letters, **expected)


def flipped(content: bytes, at: int) -> bytes:
    """The bytes, 8 of them inverted from `at` on."""
    return content[:at] + bytes(255 - b for b in content[at : at + 8]) + content[at + 8 :]


def csv(*lines: str) -> bytes:
    """The good impressions as CSV, with these lines after the first half."""
    text = []
    for row in map(shown, range(SHOWN)):
        ad, price, tags, new = row["features"].values()
        text.append(
            f"{row['impression_id']},{row['ts']},{ad},{price},{'|'.join(tags)},{str(new).lower()}\n"
        )
    text[HALF:HALF] = [line + "\n" for line in lines]
    return (HEADER + "".join(text)).encode()


def parquet(
    change: Callable[[pa.Table], pa.Table] = lambda table: table, *, rows: int = SHOWN
) -> bytes:
    """The good impressions as Parquet, changed; so many rows a row group."""
    sink = io.BytesIO()
    table = change(pa.Table.from_pylist([shown(i) for i in range(SHOWN)]))
    pq.write_table(table, sink, row_group_size=rows, compression="none")
    return sink.getvalue()


def cast(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """A change: the column has another type."""
    return lambda t: t.set_column(t.schema.get_field_index(name), name, t[name].cast(kind))


def more(*members: Row) -> Callable[[pa.Table], pa.Table]:
    """A change: further rows after the first half, like good ones but for these members."""
    rows = [{**shown(HALF), **given} for given in members]
    return lambda t: pa.concat_tables(
        [t.slice(0, HALF), pa.Table.from_pylist(rows, t.schema), t.slice(HALF)]
    )


def damaged_page(at: int) -> bytes:
    """Parquet in row groups of 5 rows, with a page of row group `at` damaged."""
    content = parquet(rows=5)
    group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(at)
    return flipped(content, group.column(1).data_page_offset)


TEXT = (
    file("BOM at the start", ".ndjson", b"\xef\xbb\xbf" + WHOLE),
    file("CRLF", ".ndjson", WHOLE.replace(b"\n", b"\r\n")),
    file("no final line end", ".ndjson", WHOLE[:-1]),
    file("empty file", ".ndjson", b"", *12 * [ORPHAN], impressions=0, clicks=0),
    file(
        "UTF-16",
        ".ndjson",
        "{}\n".encode("utf-16"),
        "invalid_utf8: byte 1 of the line, 0xff, is not UTF-8; UTF-8 is expected",
        r'not_one_object: the line begins with "\u0000"; exactly one JSON object a line is '
        "expected",
        *12 * [ORPHAN],
        impressions=0,
        clicks=0,
    ),
    file("zeros after gzip", ".ndjson.gz", gzip.compress(WHOLE) + bytes(512)),
    file(
        "truncated gzip",
        ".ndjson.gz",
        gzip.compress(WHOLE)[:-1],
        exit=3,
        says=f"DIR/bad.ndjson.gz: the gzip data is damaged (it ends early). {AGAIN}",
    ),
    file(
        "corrupt gzip",
        ".ndjson.gz",
        gzip.compress(b"".join(GOOD["impressions"][:HALF])) + gzip.compress(b"")[:10] + b"\x07",
        exit=3,
        says="DIR/bad.ndjson.gz: the gzip data is damaged (Error -3 while decompressing data: "
        f"invalid block type). {AGAIN}",
        impressions=HALF,
        clicks=7,
    ),
    file(
        "garbage after gzip",
        ".ndjson.gz",
        gzip.compress(WHOLE) + b"garbage",
        exit=3,
        says="DIR/bad.ndjson.gz: the gzip data is damaged (Error -3 while decompressing data: "
        f"incorrect header check). {AGAIN}",
    ),
    file(
        "not gzip",
        ".ndjson.gz",
        WHOLE,
        exit=3,
        says="DIR/bad.ndjson.gz: the gzip data is damaged (Error -3 while decompressing data: "
        f"incorrect header check). {AGAIN}",
        impressions=0,
        clicks=0,
    ),
)

CSV = (
    file(
        "CSV: too few cells",
        ".csv",
        csv("x,1600000400000,a,1"),
        "wrong_columns: the row has 4 cells; 6 are expected, as in the header",
    ),
    file(
        "CSV: too many cells",
        ".csv",
        csv("x,1600000400000,a,1,,true,7"),
        "wrong_columns: the row has 7 cells; 6 are expected, as in the header",
    ),
    file(
        "CSV: unclosed quote",
        ".csv",
        csv('"x,1600000400000,a,1,,true'),
        "bad_csv: the cells cannot be told apart; closed quotes and no lone line ends are expected",
    ),
    file(
        "CSV: wrong values",
        ".csv",
        csv("x,noon,,,,", "x,1,,dear,,", "x,1,,,,maybe", "x,1,,1e999,,", ",1,,,,"),
        f'bad_ts: ts is "noon"{TIME}',
        'wrong_type: features.price is "dear"; a number is expected',
        'wrong_type: features.new is "maybe"; true or false is expected',
        "out_of_range: features.price is Infinity; a finite number is expected",
        "missing_id: impression_id is missing; a string of 1 to 128 bytes is expected",
    ),
    file(
        "CSV: missing column",
        ".csv",
        csv().replace(b"features.price", b"cost", 1),
        exit=3,
        says="DIR/bad.csv: no column features.price for the impressions (there are: "
        f"impression_id, ts, features.ad, cost, features.tags, features.new). {NAMES}",
        impressions=0,
        clicks=0,
    ),
    file(
        "CSV: lone returns for line ends",
        ".csv",
        csv().replace(b"\n", b"\r"),
        exit=3,
        says="DIR/bad.csv: the header cannot be read: it is not CSV. Write the columns' names, and "
        "end lines with LF or CRLF.",
        impressions=0,
        clicks=0,
    ),
    file(
        "CSV: empty file",
        ".csv",
        b"",
        exit=3,
        says="DIR/bad.csv: there is no header line. Begin the file with the columns' names.",
        impressions=0,
        clicks=0,
    ),
)

PARQUET = (
    file(
        "Parquet: missing column",
        ".parquet",
        parquet(lambda t: t.drop_columns(["features"])),
        exit=3,
        says="DIR/bad.parquet: no column features.ad for the impressions (there are: "
        f"impression_id, ts). {NAMES}",
        impressions=0,
        clicks=0,
    ),
    file(
        "Parquet: wrong type",
        ".parquet",
        parquet(cast("ts", pa.string())),
        exit=3,
        says="DIR/bad.parquet: column ts is string; int64 or timestamp is expected. Cast it when "
        "the file is written, or correct the settings.",
        impressions=0,
        clicks=0,
    ),
    file(
        "Parquet: nulls and wrong values",
        ".parquet",
        parquet(more({"impression_id": None}, {"ts": None}, {"ts": -1}, {"features": None})),
        "missing_id: impression_id is missing; a string of 1 to 128 bytes is expected",
        f"missing_ts: ts is missing{TIME}",
        f"bad_ts: ts is -1{TIME}",
        "missing_features: features is missing; an object is expected",
    ),
    file(
        "Parquet: truncated",
        ".parquet",
        parquet()[:-100],
        exit=3,
        says="DIR/bad.parquet: cannot be read as Parquet (Parquet magic bytes not found in footer. "
        f"Either the file is corrupted or this is not a parquet file.). {RIGHTS}",
        impressions=0,
        clicks=0,
    ),
    file(
        "Parquet: damaged page",
        ".parquet",
        damaged_page(4),
        exit=3,
        says=f"DIR/bad.parquet: cannot be read as Parquet (…). {RIGHTS}",
        impressions=20,
        clicks=7,
    ),
)

FILES = (*TEXT, *CSV, *PARQUET)
