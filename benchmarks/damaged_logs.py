"""What the care for damaged logs buys: `python -m benchmarks.damaged_logs`.

Lines that give a member twice, with and without the kernel that points at them; rows before the
damage of a gzip file, with and without unpacking its last piece byte by byte.
"""

import gzip
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from streams.errors import DataError
from streams.formats import gzip_reader, ndjson
from streams.record import RecordType
from streams.schema import EventSchema, Field

LINES = 100_000
RECORD = RecordType("impressions", EventSchema((Field("city", "string"), Field("price", "float"))))


def lines(every: int) -> bytes:
    """A log in which one line of `every` gives `ts` twice; 0: none does."""
    written = []
    for i in range(LINES):
        features = {"city": f"c{i % 97}", "price": i / 7}
        row = {"impression_id": f"i{i}", "ts": 1_600_000_000_000 + i, "features": features}
        line = json.dumps(row)
        written.append('{"ts":1,' + line[1:] if every and i % every == 0 else line)
    return "\n".join(written).encode() + b"\n"


def read(path: Path) -> tuple[int, float]:
    """How many rows of a log were read, and the processor's time for it in seconds."""
    begun, rows = time.process_time(), 0
    try:
        for parsed in ndjson.read_ndjson(path, RECORD):
            rows += len(parsed.rows)
    except DataError:
        pass
    return rows, time.process_time() - begun


def best(path: Path, repeats: int = 3) -> float:
    """The shortest time of some readings, in seconds."""
    return min(read(path)[1] for _ in range(repeats))


def without(module: object, name: str, instead: Callable[..., object], path: Path) -> float:
    """As `best`, with one function of a module replaced."""
    with patch.object(module, name, instead):
        return best(path)


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.ndjson"
        for every in (0, 10_000, 1_000, 100):
            path.write_bytes(lines(every))
            read(path)  # compiles
            slow = without(ndjson, "_duplicates", lambda *_: [], path)
            bad = LINES // every if every else 0
            print(f"{bad} lines of {LINES} give a member twice: {best(path):.2f} s with the")
            print(f"    kernel, {slow:.2f} s without")
        packed = bytearray(gzip.compress(lines(0), 6))
        packed[len(packed) // 2] ^= 0xFF
        path = Path(folder) / "log.ndjson.gz"
        path.write_bytes(packed)
        kept = read(path)[0]
        with patch.object(gzip_reader, "_before_damage", lambda *_: b""):
            less = read(path)[0]
        print(f"a gzip file damaged in its middle: {kept} rows kept, {less} without the last piece")


if __name__ == "__main__":
    main()
