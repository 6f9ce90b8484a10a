"""Stores and serving versions that are damaged, foreign, or in use; the run's outputs stay."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deploy.storage.rocksdb import Store
from tests import ROOT
from tests.system.bad_inputs.site import (
    Kind,
    Outcome,
    Site,
    expect,
    outputs_whole,
    replay,
    unspoiled,
)

COPY = "restore it from a copy, or make it again with `clickloop replay`"
OTHER = "score with another version (`clickloop snapshots list`)"
HOLD = """
import sys
from pathlib import Path
from deploy.storage.rocksdb import Store
with Store(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


def read(site: Site) -> Outcome:
    """What `snapshots verify` and `score` say, which must be the same."""
    outcome = site.clickloop(site.verify_words)
    expect(site.clickloop(site.score_words), outcome)
    return outcome


def store(name: str, spoil: Callable[[Site], None], says: str, **expected: Any) -> Kind:
    """Make a good run, then spoil its store, then read that."""

    def spoiled(site: Site) -> None:
        expect(replay(site).exit, 0)
        spoil(site)

    given: dict[str, Any] = {"run": read, "leaves": (outputs_whole,), **expected}
    return Kind(name, "store", spoiled, exit=1, says=says, **given)


def file(pattern: str, change: Callable[[Path], object]) -> Callable[[Site], None]:
    """Change the one file of the store with such a name."""

    def spoil(site: Site) -> None:
        (path,) = (p for p in site.store.glob(pattern) if p.stat().st_size)
        change(path)

    return spoil


def flip(path: Path) -> None:
    """Invert one byte of a file's first block."""
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF
    path.write_bytes(content)


def halve(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put(key: bytes, value: bytes) -> Callable[[Site], None]:
    """Put a value into the store."""

    def spoil(site: Site) -> None:
        with Store(site.store) as opened:
            opened.write({key: value})

    return spoil


def drop(prefix: bytes) -> Callable[[Site], None]:
    """Delete what begins so from the store."""

    def spoil(site: Site) -> None:
        with Store(site.store) as opened:
            opened.write({}, deletes=tuple(opened.keys(prefix)))

    return spoil


def older_stays(kind: Kind, site: Site) -> None:
    """The versions before the newest are intact and can be scored with."""
    del kind
    for words in (site.verify_words, site.score_words):
        expect(site.clickloop([*words, "--version=2"]).exit, 0)


def held(site: Site) -> Outcome:
    """Resume the run while another process holds its store."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(site.store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as holder:
        assert holder.stdout is not None
        expect(holder.stdout.readline(), b"open\n")
        outcome = site.clickloop([*site.replay_words, "--resume"])
        holder.kill()
    return outcome


def altered(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A JSON value with one thing in it changed, or missing, or added: every such value."""
    if isinstance(value, dict):
        for name, member in value.items():
            rest = {k: v for k, v in value.items() if k != name}
            yield f"{path}.{name} missing", rest
            for what, changed in altered(member, f"{path}.{name}"):
                yield what, {**value, name: changed}
        yield f"{path} with one more", {**value, "more": 1}
    elif isinstance(value, list):
        for i, item in enumerate(value):
            for what, changed in altered(item, f"{path}[{i}]"):
                yield what, [*value[:i], changed, *value[i + 1 :]]
        yield f"{path} with one more", [*value, None]
    elif isinstance(value, bool) or value is None:
        yield path, 1
    elif isinstance(value, str):
        yield path, value + "x"
    else:
        yield path, value + 1


def every_field(site: Site) -> Outcome:
    """Alter each field of the newest manifest in turn; the outcome they all have."""
    key = b"manifest/00000003"
    with Store(site.store, read_only=True) as opened:
        good = json.loads(opened.get(key) or b"")
    outcomes: dict[Outcome, str] = {}
    changes = list(altered(good))
    assert len(changes) > 100, "a manifest has more fields than that"
    for what, values in changes:
        put(key, json.dumps(values, sort_keys=True, separators=(",", ":")).encode())(site)
        outcomes[read(site)] = what
    put(key, json.dumps(good, sort_keys=True, separators=(",", ":")).encode())(site)
    expect(site.clickloop(site.score_words), Outcome(0, ""))
    expect(len(outcomes), 1)
    return next(iter(outcomes))


STORES = (
    store(
        "flipped byte in a table file",
        file("*.sst", flip),
        f"DIR/out/store: the store is damaged (Corruption: …); {COPY}",
    ),
    store(
        "truncated table file",
        file("*.sst", halve),
        f"DIR/out/store: the store is damaged (Corruption: …); {COPY}",
    ),
    store(
        "missing table file",
        file("*.sst", Path.unlink),
        f"DIR/out/store: the store is damaged (…No such file or directory…); {COPY}",
    ),
    store(
        "missing MANIFEST",
        file("MANIFEST-*", Path.unlink),
        f"DIR/out/store: the store is damaged (IO error: No such file or directory: …); {COPY}",
    ),
    store(
        "truncated MANIFEST",
        file("MANIFEST-*", halve),
        "DIR/out/store: …",
    ),
    store(
        "missing CURRENT",
        file("CURRENT", Path.unlink),
        f"DIR/out/store: the store is damaged (CURRENT is missing); {COPY}",
    ),
    store(
        "truncated CURRENT",
        file("CURRENT", halve),
        "DIR/out/store: the store is damaged (Corruption: CURRENT file does not end with "
        f"newline); {COPY}",
    ),
    store(
        "a newer format",
        put(b"format", b'{"format": 99}'),
        "DIR/out/store: store format 99, this clickloop reads 1; upgrade clickloop",
    ),
    store(
        "an older format",
        put(b"format", b'{"format": 0}'),
        "DIR/out/store: store format 0, this clickloop reads 1; make the store again with this "
        "version",
    ),
    store(
        "another program's RocksDB",
        drop(b"format"),
        "DIR/out/store: a RocksDB without clickloop's format mark, so it is damaged or clickloop "
        "did not make it; use another folder, or restore it from a copy",
    ),
    store(
        "a RocksDB of pickles",
        file("rocksdict-config.json", lambda path: path.write_text('{"raw_mode": false}')),
        "DIR/out/store/rocksdict-config.json: this RocksDB is not in raw mode, so reading it "
        "could run code; clickloop did not write it, use another folder",
    ),
    store(
        "page missing",
        drop(b"weights/00000003"),
        "DIR/out/store: page 0 of the weights of serving version 3 is missing; " + OTHER,
        leaves=(outputs_whole, older_stays),
    ),
    store(
        "page altered",
        put(b"keys/00000003/00000", bytes(80)),
        "DIR/out/store: page 0 of the keys of serving version 3 does not fit its digest; " + OTHER,
        leaves=(outputs_whole, older_stays),
    ),
    store(
        "every field of a manifest altered",
        unspoiled,
        "DIR/out/store: the manifest of serving version 3 is damaged (its digest does not fit); "
        + OTHER,
        run=every_field,
    ),
    store(
        "held by another process",
        unspoiled,
        "DIR/out/store: another process holds this store; stop it, or copy the folder",
        run=held,
        leaves=(outputs_whole, older_stays),
    ),
    Kind(
        "no store",
        "store",
        unspoiled,
        exit=1,
        says="DIR/out/store: no store here; name the `store` folder of a replay",
        run=read,
        leaves=(),
    ),
)
