"""Our learner compared with the baselines, on the same examples.

Each reads them from its own fastest form on disk; ours is an Arrow file of hashed coordinates. All
are free to use every core, and a rate is the slope between two lengths, so that start-up cancels.
Quality is progressive.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from deploy.bench import baselines
from deploy.bench.baselines import Rows
from deploy.bench.figures import Figure, figure
from deploy.console import err
from ftrl import AdmissionSettings, Learner, LearnerSettings
from ftrl.evaluation import Evaluation
from streams.compute.arrays import F64, I8

ROUNDS = 5
TARGET_VOWPAL = 4.0
TARGET_RIVER = 50.0
RIVER_EXAMPLES = 20_000
ADMISSION = AdmissionSettings(kind="bloom")
_SCHEMA = pa.schema([("keys", pa.list_(pa.uint64())), ("label", pa.int8())])

Figures = list[Figure]


class _Baseline(NamedTuple):
    """Another learner, the number of examples it is timed on, and the target of our ratio to it."""

    learner: baselines.Vowpal | baselines.River
    examples: int
    target: float


def write(path: Path, parts: Iterable[Rows]) -> None:
    """The examples as an Arrow file, a batch for each part."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        for indptr, keys, label in parts:
            lists = pa.ListArray.from_arrays(indptr.astype(np.int32), pa.array(keys))
            writer.write_batch(pa.record_batch([lists, pa.array(label)], schema=_SCHEMA))


def read(path: Path, examples: int) -> Iterator[Rows]:
    """The first `examples` of an Arrow file, a part at a time, not copied."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number).slice(0, examples)
            examples -= batch.num_rows
            if batch.num_rows:
                lists = batch.column("keys")
                indptr = lists.offsets.to_numpy().astype(np.int64)
                yield Rows(indptr, lists.flatten().to_numpy(), batch.column("label").to_numpy())


def learn(learner: Learner, rows: Rows) -> F64:
    """Learn some examples; their progressive logits."""
    count = len(rows.label)
    return learner.learn(
        rows.indptr,
        rows.keys,
        np.empty(0),  # all of them 1
        label=rows.label,
        offset=np.zeros(count),
        weight=np.ones(count),
        place=np.arange(count),
    ).logit


def compare(folder: Path, path: Path, examples: int, threads: int, prefix: str = "") -> Figures:
    """Rates, quality and memory of our learner and of the installed baselines, on `path`.

    folder: for the baselines' own files. threads: that ours learns with. prefix: of the figures'
    names; figures with one have no targets.
    """
    installed = _baselines(folder, path, examples)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in installed}
    for number in range(ROUNDS):
        err.print(f"{prefix}from disk: round {number + 1} of {ROUNDS}")
        ours.append(_slope(partial(_from_disk, path, threads), examples))
        for name, baseline in installed.items():
            theirs[name].append(_slope(baseline.learner.seconds, baseline.examples))
    learner = Learner(LearnerSettings(threads=threads), ADMISSION)
    logit = np.concatenate([learn(learner, rows) for rows in read(path, examples)])
    label = np.concatenate([rows.label for rows in read(path, examples)])
    figures = [
        figure(f"{prefix}examples_per_s", statistics.median(ours), "1/s", None),
        *_quality(prefix, logit, label),
        _memory(f"{prefix}learner_memory", learner.stats().nbytes),
    ]
    for name, baseline in installed.items():
        rates, target = theirs[name], None if prefix else baseline.target
        ratio = statistics.median(a / b for a, b in zip(ours, rates, strict=True))
        rate = statistics.median(rates)
        learned = baseline.learner.learned(baseline.examples)
        figures += [
            figure(f"{prefix}{name}_examples_per_s", rate, "1/s", None),
            figure(f"{prefix}ratio_{name}", ratio, "", target),
            *_quality(f"{prefix}{name}_", learned.logit, label),
            _memory(f"{prefix}{name}_memory", learned.memory),
        ]
        if len(learned.logit) < len(logit):
            figures += _quality(f"{prefix}beside_{name}_", logit[: len(learned.logit)], label)
    return figures


def _baselines(folder: Path, path: Path, examples: int) -> dict[str, _Baseline]:
    """The installed ones, each with its own form of the examples on disk."""
    found = {}
    if baselines.installed("vowpalwabbit"):
        err.print("writing Vowpal Wabbit's cache file")
        vowpal = baselines.Vowpal(folder, read(path, examples))
        found["vowpal_wabbit"] = _Baseline(vowpal, examples, TARGET_VOWPAL)
    if baselines.installed("river"):
        short = next(read(path, RIVER_EXAMPLES))
        river = baselines.River(folder, short)
        found["river"] = _Baseline(river, len(short.label), TARGET_RIVER)
    missing = [name for name in baselines.PACKAGES if not baselines.installed(name)]
    if missing:
        names = " ".join(missing)
        err.print(f"left out, as they are not installed: {names} (pip install {names})")
    return found


def _quality(name: str, logit: F64, label: I8) -> Figures:
    """The progressive quality of the logits, over as many of the labels."""
    rows = len(logit)
    evaluation = Evaluation()
    evaluation.update(logit, label[:rows], np.ones(rows), np.zeros(rows, np.int64))
    metrics = evaluation.metrics()
    return [
        figure(f"{name}{key}", value, "", None)
        for key in ("normalized_entropy", "auc")
        if (value := metrics[key]) is not None
    ]


def _memory(name: str, size: int) -> Figure:
    return figure(name, size / 2**20, "MiB", None)


def _from_disk(path: Path, threads: int, examples: int) -> float:
    """Seconds to read and learn the first `examples`."""
    start = time.perf_counter()
    learner = Learner(LearnerSettings(threads=threads), ADMISSION)
    for rows in read(path, examples):
        learn(learner, rows)
    return time.perf_counter() - start


def _slope(seconds: Callable[[int], float], examples: int) -> float:
    """Examples a second between a quarter and all of `examples`: the time of start-up cancels."""
    short = examples // 4
    return (examples - short) / (seconds(examples) - seconds(short))
