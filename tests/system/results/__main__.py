"""Write docs/results.md: `python -m tests.system.results [--log NAME]... [--out FILE]`."""

import argparse
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.bench import baselines
from tests import ROOT
from tests.system.results import vowpal
from tests.system.results.logs import CROSSES, LOGS, PLAIN, Log, missing
from tests.system.results.tables import TABLES

RESULTS = ROOT / "docs" / "results.md"
COMMAND = "python -m tests.system.results"
HEAD = (
    f"Written by `{COMMAND}` (`make results`); not edited by hand.",
    "The tables of McMahan et al., *Ad Click Prediction: a View from the Trenches* (KDD 2013), on "
    "logs at hand. Every figure is progressive: an example is predicted before it is learned from. "
    "NE is the log loss over the entropy of the CTR, AucLoss is 1 − AUC, calibration is the mean "
    "prediction over the CTR. Differences are relative to the first line of a table; a positive "
    "one is a detriment.",
)
ABOUT = {
    "Methods": "Each method with the best α of a few, by AucLoss. OGD is plain online gradient "
    "descent; its rates are α / (β + √Σg²), which makes it FTRL-Proximal with λ1 = 0, or α / √t "
    "for all.",
    "Admission": "A Bloom filter, or an exact counter, holds a feature back n times; Poisson "
    "inclusion admits it with probability p at each sighting. Filters roll: two generations, each "
    "of an eighth of the log, so that what was seen counts for an eighth to a quarter of it; "
    "together they take 0.75 bytes for each feature of the log. Exact counters forget in the same "
    "way. The lasting ones forget nothing: one generation, of 2 bytes for each feature of the log, "
    "must hold every feature that is ever outside the table. Memory is that of the slots at their "
    "highest load, and of the filter. False admissions: of the sightings to be held back, the "
    "share let in, as the metrics estimate it (`false_admissions`, from one feature in 128, so by "
    "chance where features are few) and as it was, a generation counting half as much as the one "
    "after it. Beside them the theory, of a feature never seen that is taken for seen, at the end "
    "of the log (`false_positives_in_theory`): with 6 bytes of a generation for each feature that "
    "it counts 1%, with 3 bytes 6%, with 2 bytes 17%.",
    "Layouts": "Memory is that of the slots at their highest load.",
    "Subsampling": "Negatives are kept with probability r and weigh 1/r; all of them are "
    "predicted, and judged.",
    "Rates from counts": "Σg² against its estimate from positives and negatives "
    "([how](decisions/0016-rates-from-counts.md)).",
}
ABOUT_VOWPAL = (
    "Vowpal Wabbit 9.11 (`--ftrl`), with its constant, learns from the same labelled examples of "
    "trivago's log with the same features, α and λ1; β 1, λ2 0. The next columns are of our "
    "learner with the crosses of `docs/examples/trivago-crosses.toml`, as there without admission. "
    "The last are of the same behind Bloom filters as they are by default, which hold a feature "
    "back twice: without λ1 rare crosses are learned by heart, and the more so the higher α. "
    "Differences are to Vowpal Wabbit; a positive one is a detriment."
)
NOTES = {
    "simulated": "Traffic of `clickloop simulate --set impressions=1000000 --set seed=1 --set "
    "ctr=0.1`.",
    "Open Bandit": "283 clicks are few: these differences are mostly chance.",
}


def tell(words: str) -> None:
    """To whoever waits."""
    print(words, file=sys.stderr, flush=True)


def wrapped(words: str) -> str:
    """A paragraph in lines of the page's width."""
    return textwrap.fill(words, 110, break_on_hyphens=False, break_long_words=False)


def heading(name: str) -> str:
    """Of a log."""
    return f"## {name[0].upper()}{name[1:]}"


def section(log: Log) -> list[str]:
    """All tables of a log."""
    settings = log.learner
    about = (
        f"{len(log.label):,} impressions, {log.label.mean():.2%} clicked, {log.features:,} "
        f"features, {len(log.keys) / len(log.label):.1f} a row; α {settings.alpha:g}, "
        f"β {settings.beta:g}, λ1 {settings.l1:g}, λ2 {settings.l2:g}. {NOTES.get(log.name, '')}"
    )
    parts = [heading(log.name), wrapped(about)]
    for title, measure in TABLES.items():
        start = time.monotonic()
        parts += [f"### {title}", wrapped(ABOUT[title]), measure(log).markdown()]
        tell(f"{log.name}, {title.lower()}: {time.monotonic() - start:.0f} s")
    return parts


def beside_vowpal(found: Mapping[str, Log]) -> list[str]:
    """The comparison on the logs that there are."""
    reason = None if baselines.installed("vowpalwabbit") else vowpal.MISSING
    if not {PLAIN, CROSSES} <= found.keys():
        reason = f"needs {PLAIN} and {CROSSES}"
    parts = ["## Beside Vowpal Wabbit"]
    if reason is not None:
        return [*parts, f"Left out: {reason}."]
    start = time.monotonic()
    parts += [wrapped(ABOUT_VOWPAL), vowpal.compare(found[PLAIN], found[CROSSES]).markdown()]
    tell(f"Vowpal Wabbit: {time.monotonic() - start:.0f} s")
    return parts


def main() -> None:
    """Measure every log there is, and write the page."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--log", action="append", choices=LOGS, help="only this one")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    parts, found = ["# Results", *map(wrapped, HEAD)], dict[str, Log]()
    for name in args.log or LOGS:
        reason = missing(name)
        if reason is not None:
            parts += [heading(name), f"Left out: {reason}."]
            continue
        tell(f"{name}: joining")
        found[name] = LOGS[name]()
        parts += section(found[name])
    parts += beside_vowpal(found)
    args.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    tell(f"wrote {args.out}")


if __name__ == "__main__":
    main()
