"""The Open Bandit logs as the two logs of a click pipeline.

The wheel `obp` 0.4.1 (Apache-2.0) carries a small sample of the Open Bandit Dataset (Saito et
al., NeurIPS 2021): real recommendations shown by ZOZOTOWN in November 2019, under two policies
and on three pages, 10,000 impressions each. A row tells whether it was clicked, not when, so
the click's delay is drawn here.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from streams.compute.arrays import I64
from streams.errors import DataError

WHEEL = "obp-0.4.1-py3-none-any.whl"
LOGS = tuple((policy, page) for policy in ("bts", "random") for page in ("all", "men", "women"))
MEDIAN_DELAY_S = 20.0
DELAY_SIGMA = 1.6
DELAYS = (
    f"Click delays are drawn, because these logs carry none: log-normal, median "
    f"{MEDIAN_DELAY_S:.0f} s, sigma {DELAY_SIGMA} of the natural logarithm."
)


@dataclass(frozen=True, slots=True)
class LogPaths:
    """Where the two logs of one stream lie."""

    impressions: Path
    clicks: Path


def write_logs(wheel: Path, folder: Path, *, seed: int = 2019) -> LogPaths:
    """Turn the logs inside `wheel` into Parquet impressions and clicks in `folder`.

    seed: of the click delays. Raises DataError when the wheel or a log in it is missing.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            shown = pa.concat_tables([_log(archive, policy, page) for policy, page in LOGS])
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{wheel}: the Open Bandit logs are not here ({error}); `make run` fetches them, or: "
            "pip download --no-deps --require-hashes -r requirements/demo-data.txt -d FOLDER, "
            "then clickloop demo --data FOLDER"
        ) from error
    shown = shown.sort_by([("ts", "ascending"), ("impression_id", "ascending")])
    folder.mkdir(parents=True, exist_ok=True)
    paths = LogPaths(folder / "impressions.parquet", folder / "clicks.parquet")
    pq.write_table(shown.drop_columns(["click"]), paths.impressions)
    pq.write_table(_clicks(shown, seed), paths.clicks)
    return paths


def _log(archive: zipfile.ZipFile, policy: str, page: str) -> pa.Table:
    with archive.open(f"obp/dataset/obd/{policy}/{page}/{page}.csv") as file:
        rows = pa.csv.read_csv(
            file, convert_options=pa.csv.ConvertOptions(timestamp_parsers=[pa.csv.ISO8601])
        )
    count = rows.num_rows
    item = rows["item_id"].to_numpy()
    affinities = np.stack(
        [rows[name].to_numpy() for name in rows.column_names if "affinity" in name], axis=1
    )
    row = pa.array(np.arange(count).astype(str))
    columns = {
        "impression_id": pc.binary_join_element_wise(policy, page, row, "-"),
        "ts": pc.cast(rows["timestamp"], pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64()),
        "position": rows["position"],
        "policy": pa.repeat(policy, count),
        "page": pa.repeat(page, count),
        "item_id": pc.binary_join_element_wise(page, rows["item_id"].cast(pa.string()), "-"),
        "affinity": affinities[np.arange(count), item],
        **{name: rows[name] for name in rows.column_names if name.startswith("user_feature")},
        "click": rows["click"],
    }
    return pa.table(columns)


def _clicks(shown: pa.Table, seed: int) -> pa.Table:
    """One click for each clicked row, at a drawn delay, in event-time order."""
    clicked = shown.filter(pc.equal(shown["click"], 1))
    z = np.random.default_rng(seed).standard_normal(clicked.num_rows)
    delay_ms: I64 = np.round(1000 * MEDIAN_DELAY_S * np.exp(DELAY_SIGMA * z)).astype(np.int64)
    clicks = pa.table(
        {
            "impression_id": clicked["impression_id"],
            "ts": clicked["ts"].to_numpy() + delay_ms,
            "impression_ts": clicked["ts"],
        }
    )
    return clicks.sort_by("ts")
