"""A worker process under a test's thumb."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.support.waiting import is_stopped


class Child:
    """`python -m MODULE …`, with what it writes in `log`; a test kills it in the end."""

    def __init__(self, module: str, *words: str, log: Path, **environment: str) -> None:
        self._log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", module, *words],
                cwd=log.parent,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdout=out,
                stderr=out,
            )

    @property
    def said(self) -> str:
        """What it wrote to its standard streams."""
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT and the like."""
        self.process.send_signal(number)

    @property
    def is_asleep(self) -> bool:
        """Whether SIGSTOP has stopped it."""
        return is_stopped(self.process.pid)

    @property
    def resident_bytes(self) -> int:
        """Its memory that is in use now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def kill(self) -> None:
        """kill -9, also while it sleeps; harmless if it has ended."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, which ends it with exit code 0."""
        self.process.terminate()
        assert self.process.wait(60) == 0, self.said

    def ended(self, patience: float = 40.0) -> int:
        """Wait until it ends by itself: its exit code."""
        return self.process.wait(patience)
