"""Replays in a process of their own: without rights, or on a disk that is too small."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from tests import ROOT
from tests.system.bad_inputs.site import Outcome, Site, Unavailable

# Imported as root, so that the folders of Python itself may be closed to nobody.
AS_NOBODY = """
import os, sys
from deploy.cli.app import main
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
main()
"""
# What is written to the small disk is copied away: the disk vanishes with its namespace.
ON_SMALL_DISK = """
import json, os, shutil, sys
from pathlib import Path
from tests.system.bad_inputs.site import CliRunner, app
words, disk, out, copy, filler = json.loads(sys.argv[1])
if filler is not None:
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    Path(disk, "filler").write_bytes(bytes(free - filler))
done = CliRunner().invoke(app, words)
shutil.copytree(out, copy)
if done.exception is not None and not isinstance(done.exception, SystemExit):
    raise done.exception
sys.stderr.write(done.stderr)
sys.exit(done.exit_code)
"""


def child(code: str, site: Site, *words: str, before: tuple[str, ...] = ()) -> Outcome:
    """Run a program in a process of its own."""
    done = subprocess.run(
        [*before, sys.executable, "-c", code, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return site.outcome(done.returncode, done.stderr)


def unprivileged(site: Site) -> Outcome:
    """Run the replay as nobody, who may enter the site but not write there."""
    if os.geteuid() != 0:
        return site.clickloop(site.replay_words)
    for folder in (site.folder, *site.folder.parents):
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    return child(AS_NOBODY, site, *site.replay_words)


def small_disk(size: str, free: int | None = None) -> Callable[[Site], Outcome]:
    """Run the replay on a disk of so many bytes, of which so many are free."""

    def run(site: Site) -> Outcome:
        disk = site.folder / "disk"
        disk.mkdir()
        words = [word.replace(str(site.out), str(disk / "out")) for word in site.replay_words]
        given = json.dumps([words, str(disk), str(disk / "out"), str(site.out), free])
        mount = f'mount -t tmpfs -o size={size} none "{disk}" && exec "$@"'
        private = ("unshare", "--mount", "sh", "-c", mount, "sh")
        probe = [*private, "true"]
        if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
            raise Unavailable("no file system may be mounted here")
        return child(ON_SMALL_DISK, site, given, before=private)

    return run
