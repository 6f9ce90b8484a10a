"""How much faster this learner is than another version's: `python -m benchmarks.paired DIR`.

DIR is a checkout of the other version (`git worktree add DIR COMMIT`). Two processes, one for each
version, learn the same chunks of the workload of `clickloop bench learn` in turn, so that whatever
else the machine does meets both; only the time for which a process itself ran counts. Prints each
one's median rate, the median of the chunks' ratios, and whether the states are the same bytes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from deploy.bench import learn_workload
from tests import ROOT

# Uses nothing but what every version of the learner has.
WORKER = """
import hashlib, sys, time
import numpy as np
from ftrl.learner import Learner
from ftrl.settings import AdmissionSettings, LearnerSettings

settings = LearnerSettings.model_validate({"layout": sys.argv[1]})
admission = AdmissionSettings(kind="bloom")
learner, first = Learner(settings, admission), 0
for number, line in enumerate(sys.stdin):
    with np.load(line.strip()) as chunk:
        keys, label = chunk["keys"], chunk["label"]
    rows, fields = keys.shape
    place = np.arange(first, first + rows)
    columns = dict(label=label, offset=np.zeros(rows), weight=np.ones(rows), place=place)
    if number == 0:  # compiles
        Learner(settings, admission).learn(np.arange(2) * fields, keys[0], np.empty(0),
            **{name: column[:1] for name, column in columns.items()})
    start = time.thread_time()
    learner.learn(np.arange(rows + 1) * fields, keys.ravel(), np.empty(0), **columns)
    print(time.thread_time() - start, flush=True)
    first += rows
state = learner.state()
data = b"".join(np.asarray(state[name]).tobytes() for name in sorted(state))
print(hashlib.blake2b(data, digest_size=8).hexdigest())
"""


class Worker:
    """A process that learns with the version in `folder`."""

    def __init__(self, folder: Path, layout: str) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, layout],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, chunk: Path) -> float:
        """The time it ran for to learn a chunk."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{chunk}\n")
        self._process.stdin.flush()
        return float(self._line())

    def digest(self) -> str:
        """End it; a digest of its state."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        digest = self._line()
        self._process.wait()
        return digest

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the worker ended with {self._process.wait()}")
        return line


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("other", type=Path)
    parser.add_argument("--examples", type=int, default=1_000_000)
    parser.add_argument("--layout", default="float32")
    parser.add_argument("--uniform", action="store_true")
    args = parser.parse_args()
    workers = [Worker(folder.resolve(), args.layout) for folder in (args.other, ROOT)]
    times = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "chunk.npz"
        for chunk in learn_workload.chunks(args.examples, seed=1, uniform=args.uniform):
            np.savez(path, keys=chunk.keys, label=chunk.label)
            times.append([worker.seconds(path) / len(chunk.label) for worker in workers])
        digests = {worker.digest() for worker in workers}
    table = np.array(times)
    for folder, column in zip((args.other, ROOT), table.T, strict=True):
        print(f"{1 / np.median(column):>12,.0f} examples/s  {folder}")
    print(f"{np.median(table[:, 0] / table[:, 1]):>12.2f} times as fast")
    print("the same state" if len(digests) == 1 else "the states differ")


if __name__ == "__main__":
    main()
