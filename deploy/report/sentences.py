"""What the report says below a panel's title where a run gives reason to."""

from deploy.report.charts import counts
from deploy.report.charts.style import Json, share


def balance(ledger: Json) -> str:
    """Nothing, or the first way in which the ledger does not add up."""
    for total, flows in (
        ("impressions", counts.IMPRESSION_FLOWS),
        ("clicks", counts.CLICK_FLOWS),
    ):
        read, told = ledger.get(total) or 0, sum(ledger.get(key) or 0 for key, _, _ in flows)
        if read != told:
            return f" <b>The ledger does not balance: {read:,} {total} read, {told:,} told.</b>"
    return ""


def late(delays: Json) -> str:
    """How many clicks were late."""
    late, matched = (sum(delays.get(key) or ()) for key in ("late", "matched"))
    if not late + matched:
        return ""
    return f" {late:,} of {late + matched:,} clicks were late ({share(late / (late + matched))})."


def breaker(breaker: Json) -> str:
    """How often labels waited because clicks that should have come did not."""
    openings = breaker.get("openings")
    if not openings:
        return ""
    times = "once" if openings == 1 else f"{openings:,} times"
    return f" Clicks stayed away that should have come, {times}: labels waited for them."


def size(model: Json) -> str:
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


def filters(model: Json) -> str:
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
