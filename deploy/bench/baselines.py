"""Baselines: other learners on the same examples, where they are installed (the dev extra).

Vowpal Wabbit's wheel has no `vw` program, but `python -m vowpalwabbit` is one: its C++ core with
its own reader thread. It reads a cache file of its own making. River learns in Python, from
dictionaries.
"""

import importlib.util
import itertools
import pickle
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from streams.compute.arrays import F64, I8, I64, U64

PACKAGES = ("vowpalwabbit", "river")
VOWPAL_BITS = 22
_POLL = 0.01  # seconds
_LEAST = 1e-15  # probability


class Rows(NamedTuple):
    """Hashed examples, all values 1: row i has the keys `indptr[i]` up to `indptr[i + 1]`."""

    indptr: I64
    keys: U64
    label: I8

    def lists(self) -> list[list[int]]:
        """The keys of each row."""
        keys = self.keys.tolist()
        return [keys[a:b] for a, b in itertools.pairwise(self.indptr.tolist())]


class Learned(NamedTuple):
    """logit: float64, of each example, before it was learned from. memory: bytes it took."""

    logit: F64
    memory: int


def installed(package: str) -> bool:
    """Whether `package` can be imported."""
    return importlib.util.find_spec(package) is not None


class Vowpal:
    """Vowpal Wabbit's FTRL, with its constant, on 2²² weights."""

    def __init__(self, folder: Path, parts: Iterable[Rows]) -> None:
        """Write the examples as text, and have it make its cache file of them."""
        self._text, self._cache = folder / "vowpal.txt", folder / "vowpal.cache"
        self._predictions = folder / "vowpal.predictions"
        mask = np.uint64((1 << VOWPAL_BITS) - 1)
        with self._text.open("w") as file:
            for part in parts:
                rows = part._replace(keys=part.keys & mask).lists()
                for row, clicked in zip(rows, part.label.tolist(), strict=True):
                    file.write(f"{1 if clicked else -1} | {' '.join(map(str, row))}\n")
        subprocess.run(self._command("--kill_cache"), check=True, stdout=subprocess.DEVNULL)
        # It insists that the text be there, and goes by the cache as long as that is newer.
        self._text.write_text("")
        self._cache.touch()

    def seconds(self, examples: int) -> float:
        """Seconds it takes to learn the first `examples`, start-up included."""
        command = self._command("--examples", str(examples))
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    def learned(self, examples: int, *, alpha: float = 0.1, l1: float = 1.0) -> Learned:
        """Its logits for the first `examples`, and its memory beyond that of the bare program."""
        options = ["--examples", str(examples), "--predictions", str(self._predictions)]
        peak = _peak(self._command(*options, alpha=alpha, l1=l1))
        bare = _peak([sys.executable, "-m", "vowpalwabbit", "--version"])
        return Learned(np.array(self._predictions.read_text().split(), np.float64), peak - bare)

    def _command(self, *options: str, alpha: float = 0.1, l1: float = 1.0) -> list[str]:
        command = [sys.executable, "-m", "vowpalwabbit", "--ftrl", "--quiet"]
        command += ["--loss_function", "logistic", "--ftrl_alpha", str(alpha), "--ftrl_beta", "1"]
        command += ["--l1", str(l1), "--bit_precision", str(VOWPAL_BITS)]
        return [*command, "--data", str(self._text), "--cache_file", str(self._cache), *options]


class River:
    """River's logistic regression by FTRL-Proximal with our default rates, and its intercept."""

    def __init__(self, folder: Path, part: Rows) -> None:
        """Write the examples as the pickled dictionaries it takes."""
        self._file = folder / "river.pickle"
        rows = [dict.fromkeys(row, 1.0) for row in part.lists()]
        self._file.write_bytes(pickle.dumps((rows, part.label.astype(bool).tolist())))

    def seconds(self, examples: int) -> float:
        """Seconds it takes to read and learn the first `examples`, each predicted before."""
        model = self._model()
        start = time.perf_counter()
        self._learn(model, examples)
        return time.perf_counter() - start

    def learned(self, examples: int) -> Learned:
        """Its logits for the first `examples`, and the memory of its weights."""
        model = self._model()
        tracemalloc.start()
        try:
            logit = self._learn(model, examples)
            return Learned(logit, tracemalloc.get_traced_memory()[0] - logit.nbytes)
        finally:
            tracemalloc.stop()

    def _learn(self, model: Any, examples: int) -> F64:
        rows, clicked = pickle.loads(self._file.read_bytes())
        p = np.empty(min(examples, len(rows)))
        for i in range(len(p)):
            p[i] = model.predict_proba_one(rows[i])[True]
            model.learn_one(rows[i], clicked[i])
        p = p.clip(_LEAST, 1 - _LEAST)
        odds: F64 = p / (1 - p)
        return np.log(odds)

    @staticmethod
    def _model() -> Any:
        from river import linear_model, optim

        return linear_model.LogisticRegression(
            optimizer=optim.FTRLProximal(alpha=0.1, beta=1.0, l1=1.0, l2=0.0)
        )


def _peak(command: list[str]) -> int:
    """Run a program; the most memory it had, bytes. Raises CalledProcessError if it fails.

    The memory is looked up while the program runs, because the kernel's figure for a child that
    has ended includes this process.
    """
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, _high_water(process.pid))
            time.sleep(_POLL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
