"""Bad lines between good ones: each becomes a dead letter, and nothing else changes."""

from tests.system.bad_inputs.site import GOOD, START, Kind, Site

BEFORE = {"impressions": 20, "clicks": 6}  # good lines that stand before the bad one
MIDDLE = START + 400_000

ONE = "; exactly one JSON object a line is expected"
TIME = "; a whole number of milliseconds since 1970, before the year 10000, is expected"
ID = "; a string of 1 to 128 bytes is expected"


def line(
    name: str,
    text: str | bytes,
    *letters: str,
    on: str = "impressions",
    accepted: tuple[str, ...] = (),
) -> Kind:
    """Put `text` and a line end between the good lines of the log `on`."""
    content = text.encode() if isinstance(text, str) else text

    def spoil(site: Site) -> None:
        good, at = GOOD[on], BEFORE[on]
        site.put(on, f"{on}.ndjson", b"".join([*good[:at], content, b"\n", *good[at:]]))

    return Kind(name, on, spoil, letters=letters, accepted=accepted)


def shown(id: str = '"x"', ts: object = MIDDLE, features: str = "", more: str = "") -> str:
    """The text of an impression; each part is JSON, or what somebody takes for JSON."""
    return f'{{"impression_id": {id}, "ts": {ts}, "features": {{{features}}}{more}}}'


def clicked(id: str = '"i1"', ts: object = MIDDLE, more: str = "") -> str:
    """The text of a click."""
    return f'{{"impression_id": {id}, "ts": {ts}{more}}}'


SHAPES = (
    line("array", "[1, 2]", f'not_one_object: the line begins with "["{ONE}'),
    line("bare value", "17", f'not_one_object: the line begins with "1"{ONE}'),
    line("zero bytes", bytes(100), rf'not_one_object: the line begins with "\u0000"{ONE}'),
    line(
        "two objects on a line",
        shown() + '{"a": 1}',
        rf'not_one_object: after the object there is "{{\"a\": 1}}"{ONE}',
    ),
    line(
        "an object over two lines",
        shown().replace(', "features"', ',\n"features"'),
        f"not_one_object: the object does not end on its line{ONE}",
        rf'not_one_object: the line begins with "\""{ONE}',
    ),
    line("half a line", shown()[:40], f"not_one_object: the object does not end on its line{ONE}"),
    line(
        "trailing comma",
        shown(more=","),
        f'bad_json: character 60 on is not JSON: "}}"{ONE}',
    ),
    line(
        "invalid UTF-8",
        shown('"\xff"').encode("latin-1"),
        "invalid_utf8: byte 20 of the line, 0xff, is not UTF-8; UTF-8 is expected",
    ),
    line(
        "BOM in the middle",
        "\ufeff" + shown(),
        rf'not_one_object: the line begins with "\ufeff"{ONE}',
    ),
    line(
        "line of 2 MiB",
        shown(more=', "z": "' + (1 << 21) * "z" + '"'),
        "oversized: the line has 2097220 bytes; at most 1048576 are expected",
    ),
    line(
        "control character in a string",
        '{"impression_id": "a\x01b"}',
        rf'bad_json: character 21 on is not JSON: "\u0001b\"}}"{ONE}',
    ),
    line(
        "half of a surrogate pair",
        shown(r'"\ud800"'),
        "invalid_utf8: impression_id holds half of a surrogate pair; whole ones are expected",
    ),
    line(
        "100,000 nested lists for a string",
        shown(features='"ad": ' + 100_000 * "[" + 100_000 * "]"),
        "bad_json: the line cannot be read as one of the impressions; perhaps its nesting is too "
        "deep or a number in it too big",
    ),
    line(
        "100,000 nested lists, undeclared",
        shown(more=', "z": ' + 100_000 * "[" + 100_000 * "]"),
        accepted=("x",),
    ),
    line("blank lines", "\n \t\n\r"),
)

VALUES = (
    line("huge ts", shown(ts=10**30), f"bad_ts: ts is {10**30}{TIME}"),
    line("ts with a fraction", shown(ts="5.5"), f"bad_ts: ts is 5.5{TIME}"),
    line("negative ts", shown(ts=-1), f"bad_ts: ts is -1{TIME}"),
    line("ts in microseconds", shown(ts=MIDDLE * 1000), f"bad_ts: ts is {MIDDLE * 1000}{TIME}"),
    line("ts as a string", shown(ts='"5"'), f'bad_ts: ts is "5"{TIME}'),
    line("no ts", '{"impression_id": "x", "features": {}}', f"missing_ts: ts is missing{TIME}"),
    line(
        "NaN",
        shown(features='"price": NaN'),
        "bad_json: features.price is NaN; a number is expected",
    ),
    line(
        "-Infinity",
        shown(features='"price": -Infinity'),
        "bad_json: features.price is -Infinity; a number is expected",
    ),
    line(
        "1e999",
        shown(features='"price": 1e999'),
        "out_of_range: features.price is Infinity; a number that fits 64 bits is expected",
    ),
    line("1e308", shown(features='"price": 1e308'), accepted=("x",)),
    line(
        "whole number beyond 64 bits",
        shown(more=', "position": 9223372036854775808'),
        "out_of_range: position is 9223372036854775808; a whole number that fits 64 bits is "
        "expected",
    ),
    line(
        "weight of 0",
        shown(more=', "weight": 0'),
        "out_of_range: weight is 0.0; a positive number is expected",
    ),
    line(
        "nested list",
        shown(features='"tags": ["a", ["b"]]'),
        'wrong_type: features.tags is ["a", ["b"]]; a list of strings is expected',
    ),
    line(
        "list with a number",
        shown(features='"tags": ["a", 1]'),
        'wrong_type: features.tags is ["a", 1]; a list of strings is expected',
    ),
    line(
        "list with a null",
        shown(features='"tags": ["a", null]'),
        'wrong_type: features.tags is ["a", null]; a list of strings is expected',
    ),
    line(
        "object for a string",
        shown(features='"ad": {"id": 1}'),
        'wrong_type: features.ad is {"id": 1}; a string is expected',
    ),
    line(
        "string for a number",
        shown(features='"price": "5"'),
        'wrong_type: features.price is "5"; a number is expected',
    ),
    line("empty id", shown('""'), f'empty_id: impression_id is ""{ID}'),
    line("no id", '{"ts": 5, "features": {}}', f"missing_id: impression_id is missing{ID}"),
    line("null id", shown("null"), f"missing_id: impression_id is missing{ID}"),
    line("number for an id", shown("12"), "wrong_type: impression_id is 12; a string is expected"),
    line(
        "id of 10 kB",
        shown(f'"{10_000 * "x"}"'),
        f'id_too_long: impression_id is "{59 * "x"}…{ID}',
    ),
    line(
        "id of 129 bytes",
        shown(f'"{43 * "東"}"'),
        f'id_too_long: impression_id is "{43 * "東"}"{ID}',
    ),
    line("id of 128 bytes", shown(f'"{64 * "ü"}"'), accepted=(64 * "ü",)),
    line(
        "id twice",
        shown('"x", "impression_id": "y"'),
        "duplicate_key: impression_id is given twice; once is expected",
    ),
    line(
        "feature twice",
        shown(features='"ad": "a", "ad": "b"'),
        "duplicate_key: features.ad is given twice; once is expected",
    ),
    line(
        "features twice",
        shown(more=', "features": {}'),
        "duplicate_key: features is given twice; once is expected",
    ),
    line(
        "no features",
        '{"impression_id": "x", "ts": 5}',
        "missing_features: features is missing; an object is expected",
    ),
    line(
        "features null",
        '{"impression_id": "x", "ts": 5, "features": null}',
        "missing_features: features is missing; an object is expected",
    ),
    line(
        "features a list",
        '{"impression_id": "x", "ts": 5, "features": []}',
        "wrong_type: features is []; an object is expected",
    ),
)

EVENTS = (
    line(
        "clock a year ahead",
        shown(ts=MIDDLE + 365 * 86_400_000),
        f"too_far_ahead: ts is {MIDDLE + 365 * 86_400_000}, more than 1h ahead of most of the "
        "rows that follow it; at most 1h is expected",
    ),
    line(
        "clock a year behind",
        shown(ts=MIDDLE - 365 * 86_400_000),
        "too_late: the impression came when its window had closed already: it is more than 5s "
        "out of order; raise [join] lateness if such rows are normal",
    ),
    line(
        "clock a year ahead",
        clicked(ts=MIDDLE + 365 * 86_400_000),
        f"too_far_ahead: ts is {MIDDLE + 365 * 86_400_000}, more than 1h ahead of most of the "
        "rows that follow it; at most 1h is expected",
        on="clicks",
    ),
    line(
        "unknown click type",
        clicked(more=', "type": "buy"'),
        'unknown_click_type: type is "buy"; one of the declared click types (click, hide) is '
        "expected",
        on="clicks",
    ),
    line(
        "impression_ts as a string",
        clicked(more=', "impression_ts": "5"'),
        f'bad_ts: impression_ts is "5"{TIME}',
        on="clicks",
    ),
    line(
        "click on nothing",
        clicked('"nobody"'),
        "orphan: no impression with this id came in time: it is missing from the log, or more "
        "than 5s out of order, or no longer known; see [join] lateness and dedupe_horizon",
        on="clicks",
    ),
)

LINES = (*SHAPES, *VALUES, *EVENTS)
