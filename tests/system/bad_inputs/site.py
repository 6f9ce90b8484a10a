"""Where a kind of bad input is tried: two good logs, their settings, and the commands."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from typer.testing import CliRunner

from deploy.cli.app import app
from deploy.storage import versions
from deploy.storage.rocksdb import Store

START = 1_600_000_000_000
SHOWN, CLICKED = 40, 12
CONFIG = """
[join]
window = "10m"
lateness = "5s"
click_types = ["click", "hide"]
[learner]
l1 = 0.0
[snapshots]
every = "5m"
[features.fields]
ad = { kind = "categorical" }
price = { kind = "number" }
tags = { kind = "list" }
new = { kind = "boolean" }
"""

Row = dict[str, Any]


def shown(i: int) -> Row:
    """The good impression number `i`."""
    features = {"ad": f"ad{i % 5}", "price": i / 4, "tags": ["a", "ü"][: i % 3], "new": i % 2 == 0}
    return {"impression_id": f"i{i}", "ts": START + 20_000 * i, "features": features}


def clicked(i: int) -> Row:
    """The good click number `i`: on the impression 3i, a second later."""
    return {"impression_id": f"i{3 * i}", "ts": START + 60_000 * i + 1_000, "type": "click"}


def ndjson(rows: list[Row]) -> list[bytes]:
    """The rows as lines."""
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]


GOOD = {
    "impressions": ndjson([shown(i) for i in range(SHOWN)]),
    "clicks": ndjson([clicked(i) for i in range(CLICKED)]),
}


class Unavailable(Exception):  # noqa: N818 - no error: this machine cannot be made so bad
    """The kind cannot be tried here; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and what it said, with the site's folder as `DIR`."""

    exit: int
    says: str


@dataclass
class Site:
    """A folder with the good logs. A kind of bad input spoils one thing in it."""

    folder: Path
    logs: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the good logs and settings."""
        self.folder.mkdir(parents=True)
        self.config.write_text(CONFIG)
        for source, lines in GOOD.items():
            self.put(source, f"{source}.ndjson", b"".join(lines))
        self.out = self.folder / "out"

    @property
    def config(self) -> Path:
        """The settings."""
        return self.folder / "config.toml"

    @property
    def store(self) -> Path:
        """The replay's store."""
        return self.out / "store"

    @property
    def replay_words(self) -> list[str]:
        """`clickloop replay` of the logs."""
        paths = [f"--{source}={path}" for source, path in self.logs.items()]
        return ["replay", f"--config={self.config}", *paths, f"--out={self.out}"]

    @property
    def verify_words(self) -> list[str]:
        """`clickloop snapshots verify` of the store."""
        return ["snapshots", "verify", f"--store={self.store}"]

    @property
    def score_words(self) -> list[str]:
        """`clickloop score` of the good impressions."""
        source = self.folder / "impressions.ndjson"
        output = self.folder / "scores.ndjson"
        return ["score", f"--store={self.store}", f"--input={source}", f"--output={output}"]

    def put(self, source: str, name: str, content: bytes) -> None:
        """Make a file with this content the log of `source`."""
        self.logs[source] = self.folder / name
        self.logs[source].write_bytes(content)

    def clickloop(self, words: list[str]) -> Outcome:
        """Run a command, in this process. An exception that it does not handle is raised."""
        done = CliRunner().invoke(app, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return self.outcome(done.exit_code, done.stderr)

    def outcome(self, code: int, stderr: str) -> Outcome:
        """What a command said, in the words of the table."""
        assert "Traceback" not in stderr, stderr
        says = stderr.replace(str(self.folder), "DIR").strip().removeprefix("clickloop: ")
        return Outcome(code, says)


def unspoiled(site: Site) -> None:
    """Leave the site as it is."""
    del site


def replay(site: Site) -> Outcome:
    """Run the replay."""
    return site.clickloop(site.replay_words)


def expect(found: object, wanted: object) -> None:
    """Raise AssertionError with both where they differ."""
    if found != wanted:
        raise AssertionError(f"found    {found!r}\nexpected {wanted!r}")


def outputs_whole(kind: "Kind", site: Site) -> None:
    """Every other row has arrived, and what the run has written is readable."""
    lines = (site.out / "dead-letter.ndjson").read_text().splitlines()
    letters = [json.loads(line) for line in lines]
    expect([f"{x['reason']}: {x['detail']}" for x in letters], list(kind.letters))
    refused = sum(letter["source"] == "impressions" for letter in letters)
    ledger = json.loads((site.out / "metrics.json").read_text())["ledger"]
    expect(ledger["impressions"], kind.impressions + len(kind.accepted) + refused)
    expect(ledger["clicks"], kind.clicks + len(letters) - refused)
    examples = pq.read_table(site.out / "examples").to_pylist()
    expect(len(examples), ledger["impressions"] - ledger["open"] - refused)
    good = [row for row in examples if row["impression_id"] not in kind.accepted]
    for i, (row, wanted) in enumerate(zip(good, map(shown, range(SHOWN)), strict=False)):
        found = {name: row["features." + name] for name in wanted["features"]}
        found["tags"] = found["tags"] or []  # CSV has no empty list
        expect([row["impression_id"], row["ts"], found], list(wanted.values()))
        if kind.clicks == CLICKED:
            expect(row["label"], int(i % 3 == 0 and i < 3 * CLICKED))
    if kind.ends:
        expect([ledger["open"], ledger["waiting_clicks"]], [0, 0])
        expect(len(good), kind.impressions)


def store_whole(kind: "Kind", site: Site) -> None:
    """The store opens, and holds a serving version at least, all of them intact."""
    del kind
    with Store(site.store, read_only=True) as store:
        manifests = list(versions.manifests(store))
        for manifest in manifests:
            versions.weights_of(store, manifest)
    assert manifests, "no serving version"


def not_begun(kind: "Kind", site: Site) -> None:
    """The command has refused before it wrote anything."""
    del kind
    left = [path.name for path in site.out.iterdir()] if site.out.is_dir() else []
    expect([name for name in left if name != "mine"], [])


@dataclass(frozen=True)
class Kind:
    """One kind of bad input.

    on: what is bad. spoil: makes it so. run: what is then done. exit, says: how that ends; `…`
    stands for any text. letters: the dead letters, as `reason: detail`, in order. accepted: the
    ids of rows that come from the bad input and are taken. impressions, clicks: how many of the
    good rows are read, the first ones. leaves: what must hold afterwards.
    """

    name: str
    on: str
    spoil: Callable[[Site], None]
    exit: int = 0
    says: str = ""
    letters: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    impressions: int = SHOWN
    clicks: int = CLICKED
    run: Callable[[Site], Outcome] = replay
    leaves: tuple[Callable[["Kind", Site], None], ...] = (outputs_whole, store_whole)

    @property
    def ends(self) -> bool:
        """Whether the replay reads both logs to their ends."""
        return self.exit == 0 or self.run is not replay


def check(kind: Kind, site: Site) -> Outcome:
    """Try a kind at a fresh site; AssertionError where anything is not as it says."""
    kind.spoil(site)
    outcome = kind.run(site)
    expect(outcome.exit, kind.exit)
    pattern = ".*".join(re.escape(part) for part in kind.says.split("…"))
    if not re.fullmatch(pattern, outcome.says, re.DOTALL):
        expect(outcome.says, kind.says)
    for holds in kind.leaves:
        holds(kind, site)
    return outcome
