"""`clickloop bench learn`: the learner alone, on a seeded workload, and beside other learners.

The kernel's rate is that of one core over keys in memory. Against others, each learner reads the
same examples from its own fastest form on disk (ours: an Arrow file of hashed coordinates), is free
to use both cores, and its rate is the slope between two lengths, so that start-up cancels.
"""

import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from queue import Queue
from typing import Any, ParamSpec

import numpy as np
import pyarrow as pa

from deploy import rivals, workload
from deploy.bench_replay import figure
from deploy.console import err
from deploy.workload import FIELDS, Chunk
from ftrl.learner import Learner, LearnerStats
from ftrl.roofline import pass_through
from ftrl.settings import AdmissionSettings, LearnerSettings
from ftrl.table import FIXED, LAYOUTS

P = ParamSpec("P")

ROUNDS = 5
SEED = 1
ASKED_KERNEL = 1_200_000
ASKED_ROOFLINE = 0.25
ASKED_VOWPAL = 4.0
ASKED_RIVER = 50.0
ASKED_COMPACT = 0.8
COMPACT_LOAD = 0.7
RIVER_EXAMPLES = 20_000
ADMISSION = AdmissionSettings(kind="bloom")


def run(examples: int, *, roofline: bool, uniform: bool) -> dict[str, Any]:
    """Measure; the document `bench` prints.

    examples: of the workload. roofline: measure the bare memory traffic too. uniform: all values
    of a field alike.
    """
    with tempfile.TemporaryDirectory(prefix="clickloop-bench-") as name:
        folder = Path(name)
        path = folder / "examples.arrow"
        err.print("writing the workload")
        _write(path, workload.chunks(examples, SEED, uniform=uniform))
        with one_core():
            rates, shares, stats = _kernel(path, examples, roofline)
        figures = [figure("kernel_examples_per_s", statistics.median(rates), "1/s", ASKED_KERNEL)]
        if roofline:
            share = statistics.median(shares)
            figures.append(figure("roofline_share", share, "", ASKED_ROOFLINE))
        figures.append(figure("learner_memory", stats.nbytes / 2**20, "MiB", None))
        with one_core():
            figures += _compact(examples)
        figures += _beside_others(folder, path, examples)
    return {
        "bench": "learn",
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {"clickloop": version("clickloop"), "python": platform.python_version()},
        "seed": SEED,
        "sizes": {
            "examples": examples,
            "fields": FIELDS,
            "features_admitted": stats.features_admitted,
            "uniform": uniform,
        },
        "figures": figures,
    }


def _learn(learner: Learner, chunk: Chunk) -> None:
    rows = len(chunk.label)
    indptr = np.arange(rows + 1) * FIELDS
    zeros, ones = np.zeros(rows), np.ones(rows)
    values = np.empty(0)  # all of them 1
    learner.learn(
        indptr,
        chunk.keys.ravel(),
        values,
        label=chunk.label,
        offset=zeros,
        weight=ones,
        place=np.arange(rows),
    )


def _kernel(
    path: Path, examples: int, roofline: bool
) -> tuple[list[float], list[float], LearnerStats]:
    """Rates and shares of the roofline, one a round, and what the learner came to.

    The roofline is the whole workload's traffic over the table as it is at the end.
    """
    rates, shares = [], []
    few, learner = next(_read(path, 1000)), Learner(LearnerSettings(), ADMISSION)
    _learn(learner, few)  # compiles, and so does what follows
    pass_through(learner.slots, learner.shift, few.keys.ravel(), FIELDS)
    for number in range(ROUNDS):
        err.print(f"kernel: round {number + 1} of {ROUNDS}")
        learner = Learner(LearnerSettings(), ADMISSION)
        taken = sum(_seconds(_learn, learner, chunk) for chunk in _read(path, examples))
        rates.append(examples / taken)
        if roofline:
            slots, shift = learner.slots, learner.shift
            bare = sum(
                _seconds(pass_through, slots, shift, chunk.keys.ravel(), FIELDS)
                for chunk in _read(path, examples)
            )
            shares.append(bare / taken)
    return rates, shares, learner.stats()


def _compact(examples: int) -> list[dict[str, Any]]:
    """How fast layout q2.13 learns beside float32: the same chunks in turn, of even values.

    Every feature is let in, so that the tables are as large as can be, and each chunk is learned
    once before it is timed, so that none is new. The compact table is as full as it should be.
    """
    err.print("compact layout")
    chunks = list(workload.chunks(examples, SEED, uniform=True))
    exact = Learner(LearnerSettings(), AdmissionSettings())
    for chunk in chunks:
        _learn(exact, chunk)
    needed = exact.features * LAYOUTS[FIXED].itemsize / COMPACT_LOAD
    settings = LearnerSettings(layout="q2.13", memory=max(round(needed / 2**20), 1))
    compact = Learner(settings, AdmissionSettings())
    for chunk in chunks:
        _learn(compact, chunk)
    ratios = [_seconds(_learn, exact, c) / _seconds(_learn, compact, c) for c in chunks]
    stats = compact.stats()
    return [
        figure("compact_rate_ratio", statistics.median(ratios), "", ASKED_COMPACT),
        figure("compact_bytes_a_slot", compact.slots.itemsize, "B", None),
        figure("compact_load", compact.features / len(compact.slots), "", None),
        figure("compact_collision_rate", stats.collision_rate, "", None),
        figure("compact_memory", compact.slots.nbytes / 2**20, "MiB", None),
        figure("compact_memory_float32", exact.slots.nbytes / 2**20, "MiB", None),
    ]


def _beside_others(folder: Path, path: Path, examples: int) -> list[dict[str, Any]]:
    """Our rate from disk, and its ratios to those of the learners that are installed."""
    others: dict[str, tuple[rivals.Vowpal | rivals.River, int, float]] = {}
    if rivals.installed("vowpalwabbit"):
        err.print("writing Vowpal Wabbit's cache file")
        vowpal = rivals.Vowpal(folder, _read(path, examples))
        others["vowpal_wabbit"] = vowpal, examples, ASKED_VOWPAL
    if rivals.installed("river"):
        short = next(_read(path, RIVER_EXAMPLES))
        others["river"] = rivals.River(folder, short), RIVER_EXAMPLES, ASKED_RIVER
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in others}
    for number in range(ROUNDS):
        err.print(f"from disk: round {number + 1} of {ROUNDS}")
        ours.append(_slope(partial(_from_disk, path), examples))
        for name, (other, length, _) in others.items():
            theirs[name].append(_slope(other.seconds, length))
    figures = [figure("examples_per_s", statistics.median(ours), "1/s", None)]
    for name, (_, _, asked) in others.items():
        rates = theirs[name]
        ratio = statistics.median(a / b for a, b in zip(ours, rates, strict=True))
        figures.append(figure(f"{name}_examples_per_s", statistics.median(rates), "1/s", None))
        figures.append(figure(f"ratio_{name}", ratio, "", asked))
    return figures


def _write(path: Path, chunks: Iterator[Chunk]) -> None:
    """The examples as an Arrow file: keys (a list of FIELDS uint64) and label."""
    schema = pa.schema([("keys", pa.list_(pa.uint64(), FIELDS)), ("label", pa.int8())])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for keys, label in chunks:
            rows = pa.FixedSizeListArray.from_arrays(pa.array(keys.ravel()), FIELDS)
            writer.write_batch(pa.record_batch([rows, pa.array(label)], schema=schema))


def _read(path: Path, examples: int) -> Iterator[Chunk]:
    """The first `examples` of an Arrow file, a chunk at a time."""
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number).slice(0, examples)
            examples -= batch.num_rows
            if batch.num_rows:
                keys = batch.column("keys").flatten().to_numpy().reshape(-1, FIELDS)
                yield Chunk(keys, batch.column("label").to_numpy())


def _from_disk(path: Path, examples: int) -> float:
    """Seconds to read and learn the first `examples`; a thread reads ahead."""
    start = time.perf_counter()
    chunks: Queue[Chunk | None] = Queue(maxsize=2)

    def read() -> None:
        for chunk in _read(path, examples):
            chunks.put(chunk)
        chunks.put(None)

    reader = threading.Thread(target=read, name="clickloop-bench-reader")
    reader.start()
    learner = Learner(LearnerSettings(), ADMISSION)
    while (chunk := chunks.get()) is not None:
        _learn(learner, chunk)
    reader.join()
    return time.perf_counter() - start


def _slope(seconds: Callable[[int], float], examples: int) -> float:
    """Examples a second between a quarter and all of `examples`: what start-up takes cancels."""
    short = examples // 4
    return (examples - short) / (seconds(examples) - seconds(short))


def _seconds(work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    start = time.perf_counter()
    work(*args, **kwargs)
    return time.perf_counter() - start


@contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core meanwhile."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
