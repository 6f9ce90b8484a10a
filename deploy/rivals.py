"""Other learners on the workload of `bench learn`, where they are installed (the dev extra).

Vowpal Wabbit's wheel has no `vw` program, but `python -m vowpalwabbit` is one: its C++ core with
its own reader thread. It reads a cache file of its own making. River learns in Python, from
dictionaries.
"""

import importlib.util
import pickle
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from deploy.workload import Chunk

VOWPAL_BITS = 22


def installed(package: str) -> bool:
    """Whether `package` can be imported."""
    return importlib.util.find_spec(package) is not None


class Vowpal:
    """Vowpal Wabbit's FTRL with our default rates, on 2²² weights."""

    def __init__(self, folder: Path, chunks: Iterable[Chunk]) -> None:
        """Write the examples as text, and have it make its cache file of them."""
        self._text, self._cache = folder / "vowpal.txt", folder / "vowpal.cache"
        with self._text.open("w") as file:
            for keys, label in chunks:
                rows = (keys & ((1 << VOWPAL_BITS) - 1)).tolist()
                for row, clicked in zip(rows, label.tolist(), strict=True):
                    file.write(f"{1 if clicked else -1} | {' '.join(map(str, row))}\n")
        self._run("--kill_cache")
        # It insists that the text be there, and goes by the cache as long as that is newer.
        self._text.write_text("")
        self._cache.touch()

    def seconds(self, examples: int) -> float:
        """How long it takes over the first `examples`, start-up included."""
        start = time.perf_counter()
        self._run("--examples", str(examples))
        return time.perf_counter() - start

    def _run(self, *options: str) -> None:
        command = [sys.executable, "-m", "vowpalwabbit", "--ftrl", "--quiet", "--noconstant"]
        command += ["--loss_function", "logistic", "--ftrl_alpha", "0.1", "--ftrl_beta", "1"]
        command += ["--l1", "1", "--bit_precision", str(VOWPAL_BITS), "--data", str(self._text)]
        command += ["--cache_file", str(self._cache), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class River:
    """River's logistic regression by FTRL-Proximal with our default rates."""

    def __init__(self, folder: Path, chunk: Chunk) -> None:
        """Write the examples as the pickled dictionaries it takes."""
        self._file = folder / "river.pickle"
        rows = [dict.fromkeys(row, 1.0) for row in chunk.keys.tolist()]
        self._file.write_bytes(pickle.dumps((rows, chunk.label.astype(bool).tolist())))

    def seconds(self, examples: int) -> float:
        """How long it takes to read and learn the first `examples`, each predicted before."""
        from river import linear_model, optim

        model = linear_model.LogisticRegression(
            optimizer=optim.FTRLProximal(alpha=0.1, beta=1.0, l1=1.0, l2=0.0), intercept_lr=0.0
        )
        start = time.perf_counter()
        rows, clicked = pickle.loads(self._file.read_bytes())
        for row, label in zip(rows[:examples], clicked[:examples], strict=True):
            model.predict_proba_one(row)
            model.learn_one(row, label)
        return time.perf_counter() - start
