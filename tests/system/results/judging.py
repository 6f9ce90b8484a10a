"""What progressive predictions are worth, and what a table of features takes."""

from typing import NamedTuple

import numpy as np

from ftrl.stats import LearnerStats
from ftrl.table.layout import LAYOUTS
from streams.compute.arrays import F64, I8

HIGHEST_LOAD = 2 / 3  # of the slots of a table that grows


class Judged(NamedTuple):
    """Normalized entropy, AucLoss (1 - AUC, McMahan et al., section 3), and Σp over Σy."""

    entropy: float
    auc_loss: float
    calibration: float


def judge(logit: F64, label: I8) -> Judged:
    """Judge logits, float64, by their labels, of which there must be both."""
    y = label == 1
    share = float(y.mean())
    # log(1 + exp(x)) without overflow; of a positive log(1 + exp(-x)).
    loss = float(np.logaddexp(0.0, np.where(y, -logit, logit)).mean())
    entropy = -share * np.log(share) - (1 - share) * np.log1p(-share)
    p = 1 / (1 + np.exp(-logit.clip(-700, 700)))
    return Judged(loss / float(entropy), auc_loss(logit, label), float(p.mean()) / share)


def auc_loss(logit: F64, label: I8) -> float:
    """The share of pairs of a positive and a negative in the wrong order; equal ones count half."""
    values, rank = np.unique(logit, return_inverse=True)
    positives = np.bincount(rank[label == 1], minlength=len(values)).astype(np.float64)
    negatives = np.bincount(rank[label == 0], minlength=len(values)).astype(np.float64)
    above = negatives.sum() - np.cumsum(negatives)  # negatives with a greater logit
    wrong = (positives * (above + negatives / 2)).sum()
    return float(wrong / (positives.sum() * negatives.sum()))


def detriment(value: float, best: float) -> float:
    """By how much a loss is greater than the one it is compared with, as a share of that."""
    return value / best - 1


def saved(value: float, whole: float) -> float:
    """Which share of `whole` is not needed any more."""
    return 1 - value / whole


def memory(stats: LearnerStats, layout: str, filters: int) -> float:
    """Bytes that features take: their slots at the highest load, and the `filters` (bytes)."""
    return stats.features_admitted * LAYOUTS[layout].itemsize / HIGHEST_LOAD + filters
