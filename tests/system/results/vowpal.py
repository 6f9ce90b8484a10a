"""Vowpal Wabbit's FTRL on the same examples, with the same rates and features."""

import tempfile
from pathlib import Path

import numpy as np

from deploy.bench import baselines
from ftrl.settings import AdmissionSettings
from tests.system.results.judging import detriment, judge
from tests.system.results.logs import OFF, Log, learn
from tests.system.results.tables import Table, changed, share

MISSING = "Vowpal Wabbit is not installed (the `dev` extra)"
BLOOM = AdmissionSettings(kind="bloom")  # for the rest as it is by default
POINTS = tuple((alpha, l1) for alpha in (0.05, 0.1, 0.2) for l1 in (0.0, 1.0))


def compare(plain: Log, crosses: Log) -> Table:
    """Both at each point of (α, λ1); β 1, λ2 0. crosses: the same examples with more features.

    Features are numbered, so that none of Vowpal Wabbit's collide.
    """
    rows, entropies = [], []
    with tempfile.TemporaryDirectory(prefix="clickloop-results-") as folder:
        ids = plain.ids.astype(np.uint64)
        vowpal = baselines.Vowpal(Path(folder), [baselines.Rows(plain.indptr, ids, plain.label)])
        for alpha, l1 in POINTS:
            settings = changed(plain.learner, alpha=alpha, l1=l1)
            theirs = judge(vowpal.learned(len(plain.label), alpha=alpha, l1=l1).logit, plain.label)
            ours, more, fewer = (
                judge(learn(log, settings, admission).logit, log.label)
                for log, admission in ((plain, OFF), (crosses, OFF), (crosses, BLOOM))
            )
            entropies.append([one.entropy for one in (theirs, ours, more, fewer)])
            rows.append(
                (
                    f"{alpha:g}, {l1:g}",
                    f"{theirs.entropy:.5f}",
                    f"{ours.entropy:.5f}",
                    share(detriment(ours.entropy, theirs.entropy), 3),
                    share(detriment(ours.auc_loss, theirs.auc_loss), 3),
                    f"{more.entropy:.5f}",
                    share(detriment(more.entropy, theirs.entropy)),
                    f"{fewer.entropy:.5f}",
                    share(detriment(fewer.entropy, theirs.entropy)),
                )
            )
    best = np.min(entropies, axis=0).tolist()
    note = (
        f"Each at its best point: {best[0]:.5f}, {best[1]:.5f} "
        f"({share(detriment(best[1], best[0]), 3)}), {best[2]:.5f} with crosses "
        f"({share(detriment(best[2], best[0]))}), {best[3]:.5f} with crosses and admission "
        f"({share(detriment(best[3], best[0]))})."
    )
    head = ("α, λ1", "Vowpal Wabbit, NE", "clickloop, NE", "NE difference", "AucLoss difference")
    more_head = ("with crosses, NE", "NE difference", "and admission, NE", "NE difference")
    return Table((*head, *more_head), rows, (note,))
