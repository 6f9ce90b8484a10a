"""`clickloop bench replay`: the whole loop on one core, on real logs repeated many times.

The trivago logs are repeated with shifted times and ids, so that the log is long while its
traffic stays real, and replayed by a process of its own pinned to one core.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from deploy.bench.figures import circumstances, figure
from deploy.console import err
from streams.errors import ConfigError

TRIVAGO = Path(__file__).with_name("trivago.toml")  # in the package, so that a wheel has it
BAD_SHARE = 0.01
TARGET_PARQUET = 250_000
TARGET_NDJSON = 100_000
TARGET_BAD_RATIO = 0.5
TARGET_MEMORY_RATIO = 1.1


@dataclass(frozen=True, slots=True)
class Measured:
    """One replay: impressions a second, seconds, and the process's peak memory in bytes."""

    impressions_per_s: float
    seconds: float
    peak_bytes: int


def run(config: Path | None, repeat: int) -> dict[str, Any]:
    """Measure with the settings in `config`, by default TRIVAGO; the document `bench` prints.

    Raises ConfigError without the logs.
    """
    data = os.environ.get("CLICKLOOP_TEST_DATA")
    if not data or not (Path(data) / "trivago").is_dir():
        raise ConfigError(
            "CLICKLOOP_TEST_DATA names no folder with the trivago logs; set it to the folder "
            "that holds trivago/impressions.ndjson.gz and trivago/clicks.ndjson.gz"
        )
    config = config or TRIVAGO
    half = max(1, repeat // 2)
    with tempfile.TemporaryDirectory(prefix="clickloop-bench-") as name:
        folder = Path(name)
        logs = _Logs(Path(data) / "trivago")
        err.print(f"writing the logs {half} and {repeat} times over")
        for times in {1, half, repeat}:
            logs.write_parquet(folder / f"parquet-{times}", times)
        logs.write_ndjson(folder / "ndjson", repeat, bad_share=0.0)
        logs.write_ndjson(folder / "bad", repeat, bad_share=BAD_SHARE)
        err.print("warming up")
        _replay(config, folder / "parquet-1", run="warm-up")
        err.print("measuring")
        short = _replay(config, folder / f"parquet-{half}")
        parquet = _replay(config, folder / f"parquet-{repeat}")
        ndjson = _replay(config, folder / "ndjson")
        bad = _replay(config, folder / "bad")
    bad_ratio = bad.impressions_per_s / ndjson.impressions_per_s
    memory_ratio = parquet.peak_bytes / short.peak_bytes
    return {
        **circumstances("replay"),
        "sizes": {"repeat": repeat, "impressions": repeat * logs.rows, "bad_share": BAD_SHARE},
        "figures": [
            figure("parquet_impressions_per_s", parquet.impressions_per_s, "1/s", TARGET_PARQUET),
            figure("ndjson_impressions_per_s", ndjson.impressions_per_s, "1/s", TARGET_NDJSON),
            figure("bad_rows_impressions_per_s", bad.impressions_per_s, "1/s", None),
            figure("bad_rows_ratio", bad_ratio, "", TARGET_BAD_RATIO),
            figure("peak_memory", parquet.peak_bytes / 2**20, "MiB", None),
            figure("peak_memory_half_as_long", short.peak_bytes / 2**20, "MiB", None),
            figure("peak_memory_ratio", memory_ratio, "", TARGET_MEMORY_RATIO, at_most=True),
        ],
    }


def _replay(config: Path, logs: Path, run: str = "run") -> Measured:
    """Replay the logs in a process of its own, on one core."""
    out = logs.with_name(f"{run}-{logs.name}")
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "deploy", "replay", "--json", "--out", str(out)]
    command += ["--config", str(config)]
    command += ["--impressions", str(logs / "impressions.*")]
    command += ["--clicks", str(logs / "clicks.*")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    ) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {process.returncode}")
    throughput = json.loads(text)["throughput"]
    return Measured(throughput["impressions_per_s"], throughput["seconds"], usage.ru_maxrss * 1024)


class _Logs:
    """The trivago logs, to be written many times over."""

    def __init__(self, folder: Path) -> None:
        self._impressions = _read(folder / "impressions.ndjson.gz")
        self._clicks = _read(folder / "clicks.ndjson.gz")
        first = pc.min(self._impressions["ts"]).as_py()
        last = max(pc.max(self._impressions["ts"]).as_py(), pc.max(self._clicks["ts"]).as_py())
        self._span = last - first + 3_600_000
        self.rows = self._impressions.num_rows

    def write_parquet(self, folder: Path, times: int) -> None:
        folder.mkdir()
        for name, table in (("impressions", self._impressions), ("clicks", self._clicks)):
            with pq.ParquetWriter(folder / f"{name}.parquet", table.schema) as file:
                for time in range(times):
                    file.write_table(self._shifted(table, time), row_group_size=65_536)

    def write_ndjson(self, folder: Path, times: int, bad_share: float) -> None:
        """Every `1 / bad_share`-th impression loses its last brace."""
        folder.mkdir()
        for name, table in (("impressions", self._impressions), ("clicks", self._clicks)):
            lines = [_line(row) for row in table.to_pylist()]
            ts = table["ts"].to_pylist()
            with (folder / f"{name}.ndjson").open("w", encoding="utf-8") as file:
                for time in range(times):
                    shift = time * self._span
                    rows = [line % (time, t + shift) for line, t in zip(lines, ts, strict=True)]
                    if bad_share and name == "impressions":
                        every = slice(None, None, round(1 / bad_share))
                        rows[every] = [row[:-1] for row in rows[every]]
                    file.writelines(row + "\n" for row in rows)

    def _shifted(self, table: pa.Table, time: int) -> pa.Table:
        ids = pc.binary_join_element_wise(table["impression_id"], str(time), "#")
        shifted = pc.add(table["ts"], time * self._span)
        return table.set_column(0, "impression_id", ids).set_column(1, "ts", shifted)


def _read(path: Path) -> pa.Table:
    """A log with features as they are, in a struct."""
    table = pa.json.read_json(path)
    order = ["impression_id", "ts", *(n for n in table.column_names if n not in _HEAD)]
    return table.select(order)


_HEAD = ("impression_id", "ts")


def _line(row: dict[str, Any]) -> str:
    """A row as JSON with places for the number of the repetition and for its time."""
    rest = {key: value for key, value in row.items() if key not in _HEAD}
    if "features" in rest:
        rest["features"] = {k: v for k, v in rest["features"].items() if v is not None}
    ident = json.dumps(row["impression_id"])[1:-1].replace("%", "%%")
    body = json.dumps(rest, ensure_ascii=False, separators=(",", ":")).replace("%", "%%")[1:-1]
    return f'{{"impression_id":"{ident}#%d","ts":%d{"," if body else ""}{body}}}'
