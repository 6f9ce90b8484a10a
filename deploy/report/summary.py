"""A run in words: the report's cards, and the sentences below a panel's title."""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.report.charts import counts
from deploy.report.charts.style import Json, share

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Card:
    """A number with its name, and a sentence that says what it means."""

    name: str
    value: str
    meaning: str


def cards(document: Json) -> list[Card]:
    """What a reader of `metrics.json` wants to know first."""
    metrics = document.get("metrics") or {}
    return [
        _examples(metrics, document.get("ledger") or {}),
        _rate(metrics.get("ctr")),
        _entropy(metrics),
        _calibration(metrics.get("calibration")),
        _auc(metrics.get("auc")),
        _speed(document.get("throughput") or {}),
    ]


def _examples(metrics: Json, ledger: Json) -> Card:
    count = metrics.get("examples") or 0
    if not count:
        return Card("Examples", "0", "No example was learned from.")
    meaning = "learned from, each scored before its label was seen"
    if ledger.get("positives") is not None:
        meaning += f"; {ledger['positives']:,} were clicked"
    return Card("Examples", f"{count:,}", meaning + ".")


def _rate(ctr: float | None) -> Card:
    if ctr is None:
        return Card("Click-through rate", UNKNOWN, "No example yet.")
    if ctr == 0:
        return Card("Click-through rate", "0%", "No impression was clicked.")
    meaning = f"One impression in {1 / ctr:,.{0 if ctr < 0.1 else 1}f} was clicked."
    return Card("Click-through rate", share(ctr, 3), meaning)


def _entropy(metrics: Json) -> Card:
    """The interval says whether the model can be told from the average CTR, score 1."""
    name, score = "Normalized entropy", metrics.get("normalized_entropy")
    if score is None:
        return Card(name, UNKNOWN, "Needs both clicked and unclicked examples.")
    low, high = metrics.get("normalized_entropy_interval") or (score, score)
    meaning = f"95% interval {low:.4f} to {high:.4f}. "
    if high < 1:
        meaning += f"{share(1 - score)} less log loss than always predicting the average CTR."
    elif low > 1:
        meaning += f"Worse than always predicting the average CTR, by {share(score - 1)}."
    else:
        meaning += (
            "It holds 1, the score of always predicting the average CTR: from so few clicks "
            "the two cannot be told apart."
        )
    return Card(name, f"{score:.4f}", meaning)


def _calibration(ratio: float | None) -> Card:
    if ratio is None:
        return Card("Calibration", UNKNOWN, "Predicted over observed clicks; none was observed.")
    off = abs(ratio - 1)
    if off < 0.0005:
        meaning = "As many clicks came as the model expected."
    elif ratio > 1:
        meaning = f"The model expected {share(off)} more clicks than came."
    else:
        meaning = f"The model expected {share(off)} fewer clicks than came."
    return Card("Calibration", f"{ratio:.3f}", meaning)


def _auc(area: float | None) -> Card:
    if area is None:
        return Card("AUC", UNKNOWN, "Needs both clicked and unclicked examples.")
    return Card(
        "AUC",
        f"{area:.4f}",
        f"A clicked impression scores above an unclicked one {share(area, 3)} of the time "
        "(50% by chance).",
    )


def _speed(throughput: Json) -> Card:
    rate = throughput.get("impressions_per_s")
    if not rate:
        return Card("Speed", UNKNOWN, "Not measured.")
    meaning = "Impressions joined and learned a second."
    if throughput.get("seconds"):
        meaning += f" The run took {time_taken(throughput)}."
    return Card("Speed", f"{rate:,.0f}/s", meaning)


def time_taken(throughput: Mapping[str, float]) -> str:
    """How long a run took, from its metrics document."""
    compiling = throughput.get("compiling_s", 0.0)  # Earlier versions did not measure it.
    more = f", and {compiling:,.1f} s to compile, once on a machine" if compiling else ""
    return f"{throughput['seconds'] - compiling:,.1f} s{more}"


def ledger_balance(ledger: Json) -> str:
    """Nothing, or the first way in which the ledger does not add up."""
    for total, flows in (("impressions", counts.IMPRESSION_FLOWS), ("clicks", counts.CLICK_FLOWS)):
        read, counted = ledger.get(total) or 0, sum(ledger.get(key) or 0 for key, _, _ in flows)
        if read != counted:
            return f" <b>The ledger does not balance: {read:,} {total} read, {counted:,} told.</b>"
    return ""


def late_clicks(delays: Json) -> str:
    """How many clicks were late."""
    late, matched = (sum(delays.get(key) or ()) for key in ("late", "matched"))
    if not late + matched:
        return ""
    return f" {late:,} of {late + matched:,} clicks were late ({share(late / (late + matched))})."


def breaker_openings(breaker: Json) -> str:
    """How often labels waited because clicks that should have come did not."""
    openings = breaker.get("openings")
    if not openings:
        return ""
    times = "once" if openings == 1 else f"{openings:,} times"
    return f" Clicks stayed away that should have come, {times}: labels waited for them."


def model_size(model: Json) -> str:
    """The memory the features take, and what did not fit."""
    parts = []
    if model.get("bytes"):
        parts.append(f" They take {model['bytes'] / 2**20:,.1f} MiB.")
    for key, what in (
        ("refused", "sightings of new features were refused: the table was full"),
        ("evicted", "features left the table again"),
        ("saturated", "stored values lay outside the range of fixed point"),
    ):
        if model.get(key):
            parts.append(f" {model[key]:,} {what}.")
    return "".join(parts)


def filter_errors(model: Json) -> str:
    """How often the admission filters err, estimated while they run, and in theory."""
    if not model.get("filter_fill") or model.get("false_admissions") is None:
        return ""
    text = (
        f" {share(model['filter_fill'])} of the filters' counters are in use. Of the sightings to "
        f"be held back they let {share(model['false_admissions'])} in (a live estimate, from one "
        "feature in 128)"
    )
    measured, theory = model.get("false_positives"), model.get("false_positives_in_theory")
    if measured is not None and theory is not None:
        text += (
            f"; a feature never seen they take for seen {share(measured)} of the time, "
            f"{share(theory)} in theory"
        )
    return text + "."
