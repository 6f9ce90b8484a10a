"""How fast this learner, or this joiner, is beside another version's: `python -m
benchmarks.paired`.

Its first word is a checkout of the other version (`git worktree add DIR COMMIT`). Two processes,
one for each version, take the same chunks of the workload of `clickloop bench learn` (or, with
`--join`, of `clickloop bench join`) in turn, so that whatever else the machine does meets both;
only the time for which a process itself ran counts. Prints each one's median rate, the median of
the chunks' time ratios with its 95% interval (bootstrap), and whether both came to the same bytes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from deploy.bench import learn_workload
from deploy.bench.join_workload import JOIN, SCHEMA, Traffic
from streams.compute.arrays import F64
from streams.events import SOURCES
from streams.merge import Merge
from streams.position import ReadCursor
from streams.record import RecordType, RowChunk
from tests import ROOT

# These use nothing but what every version has.
LEARN_WORKER = """
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

JOIN_WORKER = """
import hashlib, sys, time
import numpy as np
import pyarrow as pa
from joiner import Joiner, JoinSettings, SamplingSettings
from streams.schema import EventSchema, Field

schema = EventSchema(tuple(Field(*field.split(":")) for field in sys.argv[1].split(",")))
joiner = Joiner(schema, JoinSettings(), SamplingSettings(keep_rate=0.5))
digest = hashlib.blake2b(digest_size=8)
for line in sys.stdin:
    folder = line.strip()
    files = (f"{folder}/{name}.arrow" for name in ("impressions", "clicks"))
    shown, clicked = (pa.ipc.open_file(file).get_batch(0) for file in files)
    order = np.load(f"{folder}/order.npy")
    start = time.thread_time()
    output = joiner.process(shown, clicked, order)
    print(time.thread_time() - start, flush=True)
    for batch in output.labelled:
        for name in ("src_row", "label"):
            digest.update(batch.column(name).to_numpy().tobytes())
print(digest.hexdigest())
"""
OPEN = 100_000  # impressions open at a time
CHUNK = 65_536  # impressions
SMALL = 1_000  # examples or events


class Worker:
    """A process that learns or joins with the version in `folder`."""

    def __init__(self, folder: Path, code: str, word: str) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, word],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, chunk: Path) -> float:
        """The time for which the process ran to take a chunk."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{chunk}\n")
        self._process.stdin.flush()
        return float(self._line())

    def digest(self) -> str:
        """End the process; a digest of what it came to."""
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


def learned_chunks(folder: Path, examples: int, uniform: bool) -> Iterator[tuple[Path, int]]:
    """A file with each chunk of the learner's workload, and its examples."""
    path = folder / "chunk.npz"
    for chunk in learn_workload.chunks(examples, seed=1, uniform=uniform):
        np.savez(path, keys=chunk.keys, label=chunk.label)
        yield path, len(chunk.label)


def joined_chunks(folder: Path, impressions: int) -> Iterator[tuple[Path, int]]:
    """A folder with each step of the joiner's traffic, and its events."""
    gap = (JOIN.window + JOIN.lateness) / OPEN
    traffic = Traffic(impressions, gap, seed=1)
    records = RecordType("impressions", SCHEMA), RecordType("clicks", SCHEMA)
    merge = Merge(records, (ReadCursor(), ReadCursor()))
    for start in range(0, impressions, CHUNK):
        part = traffic.part(start, min(start + CHUNK, impressions))
        for source in SOURCES:
            merge.push(source, RowChunk(part[source], ()))
        while (step := merge.take()) is not None:
            for name, batch in (("impressions", step.impressions), ("clicks", step.clicks)):
                with pa.ipc.new_file(str(folder / f"{name}.arrow"), batch.schema) as file:
                    file.write_batch(batch)
            np.save(folder / "order.npy", step.order)
            yield folder, len(step.order)


def interval(ratios: F64) -> tuple[float, float, float]:
    """The median of `ratios`, and the bounds of its 95% interval by the bootstrap."""
    drawn = np.random.default_rng(1).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired")
    parser.add_argument("other", type=Path, help="a checkout of the other version")
    parser.add_argument("--join", action="store_true", help="the joiner, not the learner")
    parser.add_argument("--examples", type=int, default=1_000_000, help="or impressions")
    parser.add_argument("--layout", default="float32", help="the learner's")
    parser.add_argument("--uniform", action="store_true", help="all values of a field alike")
    args = parser.parse_args()
    fields = ",".join(f"{field.name}:{field.type}" for field in SCHEMA.fields)
    code, word = (JOIN_WORKER, fields) if args.join else (LEARN_WORKER, args.layout)
    workers = [Worker(folder.resolve(), code, word) for folder in (args.other, ROOT)]
    times = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chunks = (
            joined_chunks(folder, args.examples)
            if args.join
            else learned_chunks(folder, args.examples, args.uniform)
        )
        for number, (path, rows) in enumerate(chunks):
            order = workers if number % 2 else workers[::-1]
            took = {worker: worker.seconds(path) / rows for worker in order}
            if rows > SMALL:  # what a small step takes says little
                times.append([took[worker] for worker in workers])
        digests = {worker.digest() for worker in workers}
    # The first chunks compile; the joiner's also fill its window, and nothing leaves it.
    table = np.array(times[3 * OPEN // CHUNK + 1 if args.join else 1 :])
    for checkout, column in zip((args.other, ROOT), table.T, strict=True):
        print(f"{1 / np.median(column):>12,.0f} a second  {checkout}")
    median, low, high = interval(table[:, 1] / table[:, 0])
    print(f"time ratio {median:.3f}, 95% interval {low:.3f} to {high:.3f}, {len(table)} pairs")
    print("the same bytes" if len(digests) == 1 else "the bytes differ")


if __name__ == "__main__":
    main()
