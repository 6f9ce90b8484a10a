"""Flink SQL's left interval join over two NDJSON files, into nothing: the rival of `bench join`.

Run by the Python of a virtual environment with `apache-flink`, as a program of its own:

    python flink_join.py WINDOW_MS LATENESS_MS FOLDER

FOLDER holds `impressions.ndjson` and `clicks.ndjson`. Nothing of ours can be imported here.
"""

import sys
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment

_TABLE = """
CREATE TABLE {name} (
  {columns},
  seen AS TO_TIMESTAMP_LTZ(ts, 3),
  WATERMARK FOR seen AS seen - {lateness}
) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')
"""
_SINK = """
CREATE TABLE labelled (
  impression_id STRING, ts BIGINT,
  features ROW<ad_id STRING, city STRING, `hour` BIGINT, price DOUBLE>,
  label TINYINT, click_ts BIGINT
) WITH ('connector' = 'blackhole')
"""
_JOIN = """
INSERT INTO labelled
SELECT i.impression_id, i.ts, i.features,
       CAST(CASE WHEN c.ts IS NULL THEN 0 ELSE 1 END AS TINYINT), c.ts
FROM impressions i LEFT JOIN clicks c
  ON i.impression_id = c.impression_id
 AND c.seen BETWEEN i.seen AND i.seen + {window}
"""
_COLUMNS = {
    "impressions": "impression_id STRING, ts BIGINT, "
    "features ROW<ad_id STRING, city STRING, `hour` BIGINT, price DOUBLE>",
    "clicks": "impression_id STRING, ts BIGINT",
}


def main(window_ms: int, lateness_ms: int, folder: Path) -> None:
    """Join and wait for the end."""
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    tables.get_config().set("parallelism.default", "1")
    for name, columns in _COLUMNS.items():
        path = (folder / f"{name}.ndjson").as_uri()
        lateness = _interval(lateness_ms)
        tables.execute_sql(_TABLE.format(name=name, columns=columns, path=path, lateness=lateness))
    tables.execute_sql(_SINK)
    tables.execute_sql(_JOIN.format(window=_interval(window_ms))).wait()


def _interval(ms: int) -> str:
    minutes, seconds = divmod(ms / 1000, 60)
    hours, minutes = divmod(int(minutes), 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days} {hours}:{minutes:02}:{seconds:06.3f}' DAY TO SECOND(3)"


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
