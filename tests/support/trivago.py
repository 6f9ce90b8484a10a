"""The real hotel-search logs, where CLICKLOOP_TEST_DATA names a folder that has them."""

import gzip
import itertools
import json
import os
from pathlib import Path
from typing import Any

from deploy import settings
from tests import ROOT

DATA = Path(os.environ.get("CLICKLOOP_TEST_DATA", "/nowhere")) / "trivago"
IMPRESSIONS = DATA / "impressions.ndjson.gz"
CLICKS = DATA / "clicks.ndjson.gz"
ROWS = 312_539
THERE = IMPRESSIONS.is_file() and CLICKS.is_file()


_SETTINGS = {
    "trivago.toml": ROOT / "deploy" / "bench",
    "trivago-crosses.toml": ROOT / "docs" / "examples",
}


def example(name: str) -> Path:
    """The file of the example settings called `name`."""
    return _SETTINGS[name] / name


def changed(values: settings.Settings, **changes: Any) -> settings.Settings:
    """`values` with keys given as section__key changed."""
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        part = getattr(values, section).model_copy(update={leaf: value})
        values = values.model_copy(update={section: part})
    return values


def write_part(folder: Path, start: int, rows: int) -> tuple[Path, Path]:
    """Write impressions `start` to `start + rows`, and the clicks of that time, into `folder`.

    Clicks on impressions shown before are among them, orphans here. Gives the two files.
    """
    folder.mkdir(parents=True)
    impressions, clicks = folder / "impressions.ndjson", folder / "clicks.ndjson"
    with gzip.open(IMPRESSIONS) as lines:
        chosen = list(itertools.islice(lines, start, start + rows))
    impressions.write_bytes(b"".join(chosen))
    first, last = json.loads(chosen[0])["ts"], json.loads(chosen[-1])["ts"]
    with gzip.open(CLICKS) as lines:
        clicks.write_bytes(b"".join(x for x in lines if first <= json.loads(x)["ts"] <= last))
    return impressions, clicks
