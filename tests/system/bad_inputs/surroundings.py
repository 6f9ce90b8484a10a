"""Settings, folders, rights and disks that cannot work."""

from collections.abc import Callable
from typing import Any

from tests.system.bad_inputs.children import small_disk, unprivileged
from tests.system.bad_inputs.site import (
    CONFIG,
    Kind,
    Site,
    expect,
    not_begun,
    outputs_whole,
    store_whole,
    unspoiled,
)

GIVE = "Give a file, a folder or a glob of .ndjson, .ndjson.gz, .parquet, .csv, .csv.gz."
TEN_MISTAKES = """
[join]
window = "half an hour"
lateness = -5
click_types = ["hide"]
windows = "30m"
[learner]
alpha = 0
l1 = "much"
[sampling]
keep_rate = 1.5
[admissions]
kind = "bloom"
[features]
crosses = ["city^city"]
[features.fields]
city = { kind = "categorical", hash_ass = "town" }
"""
TEN_MESSAGES = """DIR/config.toml: 10 problems in the settings:
  [join] window: 'half an hour' is not a duration; write 250ms, 10s, 30m, 2h or 1d
  [join] lateness: Input should be greater than or equal to 0 (found -5)
  [join] click_types: the first must be 'click'
  [join] windows: no such setting; see clickloop.example.toml for all of them
  [features] fields.city.hash_ass: no such setting; see clickloop.example.toml for all of them
  [features] crosses: cross 'city^city': name two or three different fields
  [learner] alpha: Input should be greater than 0 (found 0)
  [learner] l1: Input should be a valid number, unable to parse string as a number (found 'much')
  [sampling] keep_rate: Input should be less than or equal to 1 (found 1.5)
  [admissions]: no such setting; see clickloop.example.toml for all of them"""


def refused(
    name: str, on: str, spoil: Callable[[Site], None], exit: int, says: str, **expected: Any
) -> Kind:
    """The command must not begin."""
    return Kind(name, on, spoil, exit=exit, says=says, **{"leaves": (not_begun,)} | expected)


def settings(content: bytes) -> Callable[[Site], None]:
    """Put other settings in place."""

    def spoil(site: Site) -> None:
        site.config.write_bytes(content)

    return spoil


def log(name: str) -> Callable[[Site], None]:
    """Name something else as the impressions."""

    def spoil(site: Site) -> None:
        site.logs["impressions"] = site.folder / name

    return spoil


def empty_folder(site: Site) -> None:
    """Name a folder without logs as the impressions."""
    log("logs")(site)
    (site.folder / "logs").mkdir()
    (site.folder / "logs" / "notes.txt").touch()


def other_ending(site: Site) -> None:
    """Name a file of an unknown kind as the impressions."""
    site.put("impressions", "log.txt", b"{}")


def in_use(site: Site) -> None:
    """Have something in the output folder."""
    site.out.mkdir()
    (site.out / "mine").touch()


def under_a_file(site: Site) -> None:
    """Ask for an output folder inside of a file."""
    site.out = site.config / "out"


def unreadable_folder(site: Site) -> None:
    """Close the folder of the impressions."""
    empty_folder(site)
    (site.folder / "logs").chmod(0)


def unreadable_file(site: Site) -> None:
    """Close the impressions."""
    (site.folder / "impressions.ndjson").chmod(0)


SETTINGS = (
    refused("ten mistakes", "settings", settings(TEN_MISTAKES.encode()), 2, TEN_MESSAGES),
    refused(
        "not TOML",
        "settings",
        settings(b'{"join": {}}'),
        2,
        "DIR/config.toml: not valid TOML: Invalid statement (at line 1, column 1)",
    ),
    refused(
        "not UTF-8",
        "settings",
        settings(b"[join] # \xff"),
        2,
        "DIR/config.toml: cannot read the settings: byte 10 is not UTF-8; save the file as UTF-8",
    ),
    refused(
        "value for a section",
        "settings",
        settings(b"join = 5\n[features.fields]\nad = { kind = 'list' }"),
        2,
        "DIR/config.toml: 1 problem in the settings:\n  [join]: a table of keys is expected "
        "(found 5)",
    ),
    Kind("BOM at the start", "settings", settings(b"\xef\xbb\xbf" + CONFIG.encode())),
    refused(
        "no such file",
        "settings",
        lambda site: site.config.unlink(),
        2,
        "DIR/config.toml: cannot read the settings: No such file or directory; check the path and "
        "its rights",
    ),
)

FOLDERS = (
    refused(
        "output folder in use",
        "folder",
        in_use,
        2,
        "DIR/out: not an empty folder; name another, remove what it holds, or go on with it: "
        "--resume",
    ),
    refused(
        "output folder cannot be made",
        "folder",
        under_a_file,
        1,
        "DIR/config.toml/out: Not a directory; check the path and its rights",
    ),
    refused(
        "no such log",
        "folder",
        log("none.ndjson"),
        3,
        f"DIR/none.ndjson: there are no log files. {GIVE}",
    ),
    refused(
        "folder without logs",
        "folder",
        empty_folder,
        3,
        f"DIR/logs: there are no log files. {GIVE}",
    ),
    refused(
        "unknown kind of file",
        "folder",
        other_ending,
        3,
        f"DIR/log.txt: this kind of file is not known. {GIVE}",
    ),
    refused(
        "unreadable folder",
        "folder",
        unreadable_folder,
        3,
        "DIR/logs: Permission denied. Check the path and its rights.",
        run=unprivileged,
    ),
    refused(
        "unreadable file",
        "folder",
        unreadable_file,
        3,
        "DIR/impressions.ndjson: Permission denied. Check the path and its rights.",
        run=unprivileged,
    ),
)


def opens_if_made(_: Kind, site: Site) -> None:
    """Whatever could still be written of the store is intact."""
    if (site.store / "CURRENT").exists():
        expect(site.clickloop(site.verify_words).exit, 0)


FULL = "…the disk is full; free space and run again"
DISKS = (
    Kind(
        "disk full from the start",
        "disk",
        unspoiled,
        exit=1,
        says=FULL,
        run=small_disk("1m", 0),
        leaves=(),
    ),
    Kind(
        "disk full on the way",
        "disk",
        unspoiled,
        exit=1,
        says=FULL,
        run=small_disk("1m", 80_000),
        leaves=(opens_if_made,),
    ),
    Kind(
        "disk full at the report",
        "disk",
        unspoiled,
        exit=1,
        says=FULL,
        run=small_disk("3m"),
        leaves=(outputs_whole, store_whole),
    ),
)

SURROUNDINGS = (*SETTINGS, *FOLDERS, *DISKS)
