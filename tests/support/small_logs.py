"""Small logs with everything in them that logs have, and the truth of each row."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

CONFIG = """
[join]
window = "10m"
lateness = "5s"
click_types = ["click", "hide"]
[learner]
alpha = 0.3
l1 = 0.05
[admission]
kind = "bloom"
admit_after = 1
memory = 1
[snapshots]
every = "20m"
[calibration]
bucket = "10m"
[features]
crosses = ["ad^city"]
[features.fields]
ad = { kind = "categorical" }
city = { kind = "categorical" }
slot = { kind = "position", serve_as = 0 }
price = { kind = "number" }
tags = { kind = "list" }
new = { kind = "boolean" }
"""

# The same with corrections, subsampling, and filters that rotate within the log.
EVERYTHING_ON = CONFIG.replace(
    'lateness = "5s"', 'lateness = "5s"\ncorrection_horizon = "15m"'
).replace("[admission]", "[sampling]\nkeep_rate = 0.4\n[admission]\nrotate_every = 300")

# And features leave the table again, stale or because it is full.
FORGETFUL = EVERYTHING_ON.replace(
    "[learner]", "[learner]\nmemory = 1\nmax_features = 100\nexpire_after = 300"
)

BAD_LINES = (
    b'{"impression_id": "broken", "ts": ',
    b'{"impression_id": "", "ts": 5, "features": {}}',
)


@dataclass(frozen=True)
class SmallLogs:
    """The files, and the good rows in them, each with its line as `src_row`."""

    config: Path
    impressions: Path
    clicks: Path
    shown: list[Row]
    clicked: list[Row]
    bad_impressions: int


def write(folder: Path, *, rows: int = 3000, seed: int = 7, settings: str = CONFIG) -> SmallLogs:
    """Two hours of traffic: disorder, duplicates, late and early clicks, orphans, bad rows."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    shown: list[Row] = []
    clicked: list[Row] = []
    now = 1_600_000_000_000
    for number in range(rows):
        now += rng.randrange(5_000)
        ad, city = f"ad{rng.randrange(20)}", rng.choice(["Zürich", "Oslo", "東京", ""])
        features: Row = {"ad": ad, "city": city, "new": rng.random() < 0.3}
        features["price"] = rng.choice([None, 0, 1.5, 80, 8000.25])
        features["tags"] = rng.sample(["spa", "pool", "bar"], rng.randrange(4))
        if rng.random() < 0.1:
            del features[rng.choice(sorted(features))]
        row: Row = {"impression_id": f"i{number}", "ts": now - rng.randrange(3_000)}
        row |= {"features": features, "position": rng.randrange(4)}
        if rng.random() < 0.2:
            row |= {"weight": rng.choice([0.5, 2.0]), "offset": rng.uniform(-0.5, 0.5)}
        shown.append(row)
        if rng.random() < 0.01:
            shown.append(dict(row))
        rate = 0.25 if ad in ("ad1", "ad2", "ad3") else 0.04
        if rng.random() < rate:
            delay = int(rng.expovariate(1 / 200_000)) - 1_000
            kind = "hide" if rng.random() < 0.2 else "click"
            click = {"impression_id": row["impression_id"], "ts": row["ts"] + delay, "type": kind}
            clicked += [click] * rng.choice([1, 1, 1, 2])
        if rng.random() < 0.003:
            clicked.append({"impression_id": f"nobody{number}", "ts": now, "type": "click"})
    clicked.sort(key=lambda click: click["ts"] + rng.randrange(4_000))
    impressions, clicks = folder / "impressions.ndjson", folder / "clicks.ndjson"
    lines: list[bytes] = []
    for number, row in enumerate(shown):
        if number % 100 == 50:
            lines.append(BAD_LINES[number // 100 % len(BAD_LINES)])
        lines.append(json.dumps(row, ensure_ascii=False).encode())
        row["src_row"] = len(lines)
    impressions.write_bytes(b"\n".join(lines) + b"\n")
    with clicks.open("w", encoding="utf-8") as file:
        for number, row in enumerate(clicked):
            file.write(json.dumps(row) + "\n")
            clicked[number] = row | {"src_row": number + 1}
    config = folder / "config.toml"
    config.write_text(settings)
    return SmallLogs(config, impressions, clicks, shown, clicked, len(lines) - len(shown))
