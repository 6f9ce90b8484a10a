"""Apache Kafka's own jars, fetched with Maven into a cache, each checked by its digest.

The versions stand in pom.xml, the digests in jars.sha256.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.needs import KAFKA_HOW

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
DIGESTS = HERE / "jars.sha256"


class NoKafkaError(Exception):
    """There is no Kafka to be had here. The message is one line: what is missing, what to do."""


def version() -> str:
    """The version of Kafka that pom.xml asks for."""
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.+?)<", POM.read_text())
    assert found, POM
    return found[1]


def fetched() -> Path:
    """The folder with all jars, complete and checked; fetched first if need be.

    Raises NoKafkaError without Java, without Maven, or if Maven fails.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "clickloop"
    folder = cache / f"kafka-{version()}"
    if shutil.which("java") is None:
        raise NoKafkaError(f"Java is missing: {KAFKA_HOW}")
    if not wrong(folder):
        return folder
    if shutil.which("mvn") is None:
        raise NoKafkaError(f"Maven is missing: {KAFKA_HOW}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as name:
        _fetch(Path(name))
        problems = wrong(Path(name))
        if problems:
            raise NoKafkaError(f"Maven brought other jars than jars.sha256 lists: {problems}")
        shutil.rmtree(folder, ignore_errors=True)
        Path(name).rename(folder)
        Path(name).mkdir()  # for the context manager to remove
    return folder


def wrong(folder: Path) -> list[str]:
    """Names of the jars in `folder` that are missing, foreign or not what jars.sha256 says."""
    asked = {name: digest for digest, name in map(str.split, DIGESTS.read_text().splitlines())}
    here = {path.name: path for path in folder.glob("*.jar")}
    return sorted(
        name
        for name in asked.keys() | here.keys()
        if name not in here
        or hashlib.sha256(here[name].read_bytes()).hexdigest() != asked.get(name)
    )


def _fetch(folder: Path) -> None:
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(POM)]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        first = next(iter((done.stdout + done.stderr).splitlines()), "no output")
        raise NoKafkaError(f"Maven could not fetch Kafka's jars ({first}): {KAFKA_HOW}")
