"""`clickloop bench learn`: the learner alone, on a seeded workload, and beside other learners.

The kernel's rate is that of one core over keys in memory; several threads are measured beside one,
chunk by chunk in turn, so that whatever else the machine does meets both. The comparison with other
learners, on the workload and on real logs, is `deploy.bench.comparison`.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np

from deploy import settings
from deploy.bench import comparison, learn_workload
from deploy.bench.baselines import Rows
from deploy.bench.comparison import ADMISSION, ROUNDS, compare, learn, read, write
from deploy.bench.figures import Figure, circumstances, figure, one_core
from deploy.bench.hashed_logs import hashed
from deploy.bench.learn_workload import CHUNK, FIELDS, Chunk
from deploy.bench.replay import TRIVAGO
from deploy.bench.roofline import outside, pass_through
from deploy.console import err
from ftrl import AdmissionSettings, Learner, LearnerSettings, LearnerStats
from ftrl.table import FIXED, LAYOUTS, NO_AGES, TableArrays, touched_words

P = ParamSpec("P")

SEED = 1
TARGET_KERNEL = 1_200_000
TARGET_ROOFLINE = 0.25
TARGET_COMPACT = 0.8
COMPACT_LOAD = 0.7
TARGET_THREADS = 1.6
TARGET_THREADS_NE = 0.001
WARM_UP = 5000  # examples: enough for several threads


def run(
    examples: int, *, roofline: bool, uniform: bool, data: Path | None = None
) -> dict[str, Any]:
    """Measure; the document `bench` prints.

    examples: of the workload. roofline: measure the bare memory traffic too. uniform: all values
    of a field alike. data: a folder with real logs, to learn from too.
    """
    with tempfile.TemporaryDirectory(prefix="clickloop-bench-") as name:
        folder = Path(name)
        path = folder / "examples.arrow"
        err.print("writing the workload")
        write(path, rows_of(learn_workload.chunks(examples, SEED, uniform=uniform)))
        with one_core():
            rates, shares, stats = _kernel(path, examples, roofline)
        figures = [figure("kernel_examples_per_s", statistics.median(rates), "1/s", TARGET_KERNEL)]
        if roofline:
            share = statistics.median(shares)
            figures.append(figure("roofline_share", share, "", TARGET_ROOFLINE))
        with one_core():
            figures += _compact(examples)
        cores = len(os.sched_getaffinity(0))
        figures += _threads(path, examples, max(cores, 2))
        figures += compare(folder, path, examples, cores)
        if data is not None:
            figures += _on_trivago(folder / "trivago", data, cores)
    return {
        **circumstances("learn"),
        "seed": SEED,
        "sizes": {
            "examples": examples,
            "fields": FIELDS,
            "features_admitted": stats.features_admitted,
            "uniform": uniform,
            "threads_from_disk": cores,
            "river_examples": comparison.RIVER_EXAMPLES,
        },
        "figures": figures,
    }


def rows_of(chunks: Iterable[Chunk]) -> Iterator[Rows]:
    """The workload as rows, which the baselines take too."""
    for keys, label in chunks:
        yield Rows(np.arange(len(label) + 1) * FIELDS, keys.ravel(), label)


def _in_memory(path: Path, examples: int) -> Iterator[Rows]:
    """The rows that `read` gives, copied, so that nothing of the file is left to be loaded."""
    for rows in read(path, examples):
        yield Rows(*map(np.array, rows))


def _in_parts(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows.label), CHUNK):
        indptr = rows.indptr[start : start + CHUNK + 1]
        keys = rows.keys[indptr[0] : indptr[-1]]
        yield Rows(indptr - indptr[0], keys, rows.label[start : start + CHUNK])


def _on_trivago(folder: Path, data: Path, threads: int) -> list[Figure]:
    """All learners on the hotel-search logs in `data`, if they are there."""
    impressions, clicks = (data / f"trivago/{name}.ndjson.gz" for name in ("impressions", "clicks"))
    if not (impressions.is_file() and clicks.is_file() and TRIVAGO.is_file()):
        err.print(f"trivago: left out, for {impressions}, {clicks} or {TRIVAGO} is not there")
        return []
    err.print("trivago: joining")
    examples = hashed(settings.load(TRIVAGO), impressions, clicks)
    folder.mkdir()
    path = folder / "trivago.arrow"
    write(path, _in_parts(Rows(examples.indptr, examples.keys, examples.label)))
    return compare(folder, path, len(examples.label), threads, "trivago_")


def _kernel(
    path: Path, examples: int, roofline: bool
) -> tuple[list[float], list[float], LearnerStats]:
    """Rates and shares of the roofline, one a round, and what the learner came to.

    The roofline is the whole workload's traffic over table and filters as they are at the end.
    """
    rates, shares = [], []
    few, learner = next(read(path, 1000)), Learner(LearnerSettings(), ADMISSION)
    learn(learner, few)  # compiles, and so does what follows
    _bare_seconds(learner, [few])
    for number in range(ROUNDS):
        err.print(f"kernel: round {number + 1} of {ROUNDS}")
        learner = Learner(LearnerSettings(), ADMISSION)
        taken = sum(_seconds(learn, learner, rows) for rows in _in_memory(path, examples))
        rates.append(examples / taken)
        if roofline:
            bare = _bare_seconds(learner, _in_memory(path, examples))
            shares.append(bare / taken)
    return rates, shares, learner.stats()


def _bare_seconds(learner: Learner, parts: Iterable[Rows]) -> float:
    """How long the memory traffic takes of having learned `parts`, without the arithmetic."""
    slots, homes, filters = learner.slots, learner.homes, learner.admission.filters()
    counts = np.zeros(len(slots), np.uint8)
    table = TableArrays(slots, touched_words(len(slots)), NO_AGES, homes)
    seconds = 0.0
    for rows in parts:
        absent = np.empty(len(rows.keys), np.uint8)
        outside(slots, homes, rows.keys, ADMISSION.admit_after, counts, absent)
        traffic = table, filters, rows.keys, absent, FIELDS, slots.view(np.uint64), np.uint64(0)
        seconds += _seconds(pass_through, *traffic)
    return seconds


def _compact(examples: int) -> list[Figure]:
    """How fast layout q2.13 learns beside float32: the same chunks in turn, of even values.

    Every feature is let in, so that the tables are as large as can be, and each chunk is learned
    once before it is timed, so that none is new. The compact table is as full as it should be.
    """
    err.print("compact layout")
    parts = list(rows_of(learn_workload.chunks(examples, SEED, uniform=True)))
    exact = Learner(LearnerSettings(), AdmissionSettings())
    for rows in parts:
        learn(exact, rows)
    needed = exact.features * LAYOUTS[FIXED].itemsize / COMPACT_LOAD
    settings = LearnerSettings(layout="q2.13", memory=max(round(needed / 2**20), 1))
    compact = Learner(settings, AdmissionSettings())
    for rows in parts:
        learn(compact, rows)
    ratios = [_seconds(learn, exact, p) / _seconds(learn, compact, p) for p in parts]
    stats = compact.stats()
    return [
        figure("compact_rate_ratio", statistics.median(ratios), "", TARGET_COMPACT),
        figure("compact_bytes_a_slot", compact.slots.itemsize, "B", None),
        figure("compact_load", compact.features / len(compact.slots), "", None),
        figure("compact_collision_rate", stats.collision_rate, "", None),
        figure("compact_memory", compact.slots.nbytes / 2**20, "MiB", None),
        figure("compact_memory_float32", exact.slots.nbytes / 2**20, "MiB", None),
    ]


def _threads(path: Path, examples: int, threads: int) -> list[Figure]:
    """How fast so many threads learn beside one, and by how much their predictions are worse.

    For comparison as many independent learners learn the same examples at once: no number of
    threads can gain more on this machine.
    """
    err.print(f"{threads} threads")
    single, team, *independent = (
        Learner(LearnerSettings(threads=count), ADMISSION) for count in (1, threads, *[1] * threads)
    )
    few = next(read(path, WARM_UP))
    for count in (1, threads):
        learn(Learner(LearnerSettings(threads=count), ADMISSION), few)  # compiles
    ratios, most, losses = [], [], np.zeros(2)
    with ThreadPoolExecutor(threads) as pool:
        for rows in _in_memory(path, examples):
            seconds = []
            for number, learner in enumerate((single, team)):
                start = time.perf_counter()
                logit = learn(learner, rows)
                seconds.append(time.perf_counter() - start)
                losses[number] += np.logaddexp(0, np.where(rows.label == 1, -logit, logit)).sum()
            taken = _seconds(
                lambda part: list(pool.map(learn, independent, [part] * threads)), rows
            )
            ratios.append(seconds[0] / seconds[1])
            most.append(threads * seconds[0] / taken)
    worse = float(losses[1] / losses[0]) - 1
    return [
        figure("threads_ratio", statistics.median(ratios), "", TARGET_THREADS),
        figure("threads_most", statistics.median(most), "", None),
        figure("threads_ne_difference", worse, "", TARGET_THREADS_NE, at_most=True),
        figure("threads", threads, "", None),
    ]


def _seconds(work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> float:
    start = time.perf_counter()
    work(*args, **kwargs)
    return time.perf_counter() - start
