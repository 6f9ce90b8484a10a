"""One broker for a whole run of pytest, however many processes it has.

The first process that needs the broker starts a keeper, and the keeper starts the broker. Every
user holds a pipe to the keeper open; when the last has closed it, by leaving or by dying, the
keeper stops the broker.
"""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import ROOT
from tests.system.kafka.broker import PATIENCE_S, Broker
from tests.system.kafka.jars import fetched


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The address of the broker that all who name `folder` share.

    Raises NoKafkaError where it cannot run, RuntimeError if it does not start.
    """
    named = os.environ.get("CLICKLOOP_TEST_KAFKA")
    if named:
        yield named
        return
    with (folder / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pipe = folder / "kafka.users"
        address = folder / "kafka.address"
        if not pipe.exists():
            fetched()
            os.mkfifo(pipe)
            subprocess.Popen(
                [sys.executable, "-m", "tests.system.kafka.shared", str(folder)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        user = os.open(pipe, os.O_RDWR)  # which does not wait for the keeper
    try:
        deadline = time.monotonic() + 2 * PATIENCE_S
        while not address.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no broker came up in {folder}")
            time.sleep(0.05)
        yield address.read_text()
    finally:
        os.close(user)


def keep(folder: Path) -> None:
    """Run the broker until nobody holds the pipe any more."""
    with (folder / "kafka.users").open("rb") as users:
        broker = Broker(fetched(), folder / "kafka")
        try:
            broker.start()
            partial = folder / "kafka.address.partial"
            partial.write_text(broker.address)
            partial.rename(folder / "kafka.address")
            users.read()
        finally:
            broker.stop()


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
