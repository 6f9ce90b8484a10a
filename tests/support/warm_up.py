"""Compile what most tests need, each kernel once, before many processes would each: `make test`."""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from deploy import settings
from deploy.replay.replay import replay
from ftrl.kernels.threads import FEWEST_PARTS, PART
from ftrl.learner import Learner
from ftrl.table.layout import LAYOUTS
from tests.support import small_logs
from tests.support.learning import bloom, learn, of, random_rows
from tests.system.kafka.stage import compile_kernels


def learners(layout: str) -> None:
    """The kernels of one thread, and of several, for one layout."""
    rows = random_rows(FEWEST_PARTS * PART // 7, fields=8, features=900, seed=1)
    for threads in (1, 2):
        learner = Learner(of(layout, threads=threads, expire_after=900), bloom(1))
        learn(learner, rows)
        Learner.restore(learner.settings, bloom(1), learner.state())


def loop(layout: str) -> None:
    """Those of the whole loop on files."""
    learners(layout)
    with tempfile.TemporaryDirectory() as name:
        logs = small_logs.write(Path(name), rows=300, settings=small_logs.FORGETFUL)
        paths = str(logs.impressions), str(logs.clicks)
        replay(settings.load(logs.config), *paths, Path(name) / "out")


def workers() -> None:
    """Those of the workers on Kafka."""
    with tempfile.TemporaryDirectory() as name:
        compile_kernels(Path(name))


def main() -> None:
    """All of them, on all cores."""
    first, *others = LAYOUTS
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(loop, first), *(pool.submit(learners, layout) for layout in others)]
        tasks.append(pool.submit(workers))
        for task in tasks:
            task.result()


if __name__ == "__main__":
    main()
