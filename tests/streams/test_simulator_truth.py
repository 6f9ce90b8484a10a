"""The simulator's world: its truth can be learned, is calibrated, and moves as stated."""

import itertools
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from streams.compute.arrays import F64
from streams.simulator import Simulation, simulate
from streams.simulator.delays import Delays
from streams.simulator.settings import HOUR, SimulatorSettings
from streams.simulator.truth import Truth
from streams.simulator.world import World

DAY = 24 * HOUR
CALM: dict[str, Any] = dict.fromkeys(
    ("out_of_order_rate", "duplicate_rate", "orphan_rate", "malformed_rate", "skewed_rate"), 0.0
)


@pytest.fixture(scope="module")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """The default world, with fewer impressions and no faults."""
    told = SimulatorSettings(impressions=200_000, **CALM)
    return simulate(told, tmp_path_factory.mktemp("defaults"))


def test_the_truth_is_calibrated(defaults: Simulation) -> None:
    """Clicks occur as often as their true probabilities say, over all and in each decile."""
    table = pq.read_table(defaults.truth)
    p = table["true_p"].to_numpy()
    clicked = table["clicked"].to_numpy(zero_copy_only=False)
    order = np.argsort(p)
    for part in (order, *np.array_split(order, 10)):
        deviation = math.sqrt((p[part] * (1 - p[part])).sum())
        assert abs(clicked[part].sum() - p[part].sum()) < 4 * deviation
    assert p.mean() == pytest.approx(0.03, rel=0.02)


def test_there_is_something_to_learn(defaults: Simulation) -> None:
    table = pq.read_table(defaults.truth)
    p = table["true_p"].to_numpy()
    clicked = table["clicked"].to_numpy(zero_copy_only=False)
    ctr = clicked.mean()
    loss = -np.where(clicked, np.log(p), np.log1p(-p)).mean()
    entropy = -ctr * math.log(ctr) - (1 - ctr) * math.log(1 - ctr)
    truth = defaults.document["truth"]
    assert truth["ctr"] == pytest.approx(ctr)
    assert truth["mean_true_p"] == pytest.approx(p.mean())
    assert truth["log_loss"] == pytest.approx(loss)
    assert truth["normalized_entropy"] == pytest.approx(loss / entropy)
    assert 0.80 < loss / entropy < 0.88


def coordinates(rows: list[dict[str, Any]], values: dict[str, Any]) -> list[list[str]]:
    """What a model with these `[features]` sees of each row, as strings."""

    def seen(row: dict[str, Any], field: str) -> list[str]:
        value = row[field if field == "position" else f"features.{field}"]
        match values["fields"][field]["kind"]:
            case "list":
                return [f"{field}={element}" for element in value] or [f"{field}=none"]
            case "number":
                mantissa, exponent = math.frexp(value)
                return [f"{field}={exponent},{mantissa >= 0.75}"]
            case _:
                return [f"{field}={value}"]

    return [
        [c for field in values["fields"] for c in seen(row, field)]
        + [
            f"{a}&{b}"
            for first, second in (cross.split("^") for cross in values["crosses"])
            for a in seen(row, first)
            for b in seen(row, second)
        ]
        for row in rows
    ]


def test_the_model_can_represent_the_truth(tmp_path: Path) -> None:
    """Without drift, logit p is a sum of weights of the coordinates the settings declare."""
    told = SimulatorSettings(
        impressions=4_000, users=20, ads=50, publishers=3, advertisers=3, drift=0, **CALM
    )
    made = simulate(told, tmp_path)
    values = tomllib.loads(made.config.read_text())["features"]
    truth = pq.read_table(made.truth).to_pydict()
    p = dict(zip(truth["impression_id"], truth["true_p"], strict=True))
    rows = pq.read_table(made.impressions).to_pylist()
    seen = coordinates(rows, values)
    index = {name: i for i, name in enumerate(sorted({c for row in seen for c in row}))}
    x = np.zeros((len(rows), len(index) + 1))
    x[:, -1] = 1
    for row, names in enumerate(seen):
        x[row, [index[name] for name in names]] = 1
    y = np.array(
        [math.log(p[row["impression_id"]] / (1 - p[row["impression_id"]])) for row in rows]
    )
    assert 2 * len(index) < len(rows)
    residual = x @ np.linalg.lstsq(x, y)[0] - y
    assert np.abs(residual).max() < 1e-9
    assert y.std() > 0.5


def test_drift_is_slow_and_has_its_size() -> None:
    told = SimulatorSettings(impressions=20_000, drift=0.2)
    world = World(told)
    shown = world.shown(np.arange(told.impressions))

    def moved(truth: Truth, by: int) -> F64:
        before, after = (
            truth.probability(replace(shown, time=np.full_like(shown.time, time)))
            for time in (told.start_ms, told.start_ms + by)
        )
        return np.log(after / (1 - after)) - np.log(before / (1 - before))

    still = Truth(World(told.model_copy(update={"drift": 0.0})))
    assert np.abs(moved(still, 3 * DAY)).max() < 1e-12
    drifting = Truth(world)
    assert 0 < np.abs(moved(drifting, HOUR // 60)).max() < 2 * 2 * 3.47 * 0.2 / (24 * 60) + 1e-12
    # Two midnights, two effects, each 0.2; some 300 publishers and 3,000 ads.
    first = np.unique(shown.ad, return_index=True)[1]
    assert moved(drifting, 3 * DAY)[first].std() == pytest.approx(0.4, rel=0.15)


def test_popularity_follows_zipf() -> None:
    """Users, publishers and long-lived ads, against k⁻ˢ in plain floats."""
    told = SimulatorSettings(impressions=200_000, zipf_users=0.8, zipf_publishers=1.2)
    shown = World(told).shown(np.arange(told.impressions))
    n = told.impressions
    for codes, size, s in (
        (shown.user, told.users, told.zipf_users),
        (shown.publisher, told.publishers, told.zipf_publishers),
    ):
        counts = np.bincount(codes, minlength=size)
        weights = [k**-s for k in range(1, size + 1)]
        bounds = [0, 1, 2, 3, 10, 30, 100, size]
        for low, high in itertools.pairwise(bounds):
            share = sum(weights[low:high]) / sum(weights)
            assert abs(counts[low:high].sum() - n * share) < 5 * math.sqrt(n * share)
    throughout = [25, 75, 125]
    found = np.bincount(shown.ad, minlength=told.ads)[throughout]
    weights = [(ad + 1) ** -told.zipf_ads for ad in throughout]
    for count, weight in zip(found, weights, strict=True):
        share = weight / sum(weights)
        total = found.sum()
        assert abs(count - total * share) < 5 * math.sqrt(total * share * (1 - share))


def test_ads_are_shown_only_while_they_live(defaults: Simulation) -> None:
    told = SimulatorSettings(**defaults.document["settings"])
    world = World(told)
    table = pq.read_table(defaults.impressions, columns=["ts", "features.ad_id"])
    ad = np.array([int(name[2:]) for name in table["features.ad_id"].to_pylist()])
    hour = (table["ts"].to_numpy() - told.start_ms) // HOUR
    assert (world.birth[ad] <= hour).all()
    assert (hour < world.death[ad]).all()
    # In a week of two-day lives most ads are born, and die, while it lasts.
    hours = told.duration // HOUR
    assert np.count_nonzero((world.birth > 0) & (world.death < hours)) > told.ads / 3
    alive = [np.count_nonzero(world.alive(h)) for h in range(hours)]
    assert min(alive) > told.ads / 10
    assert max(alive) < told.ads / 2
    life = (world.death - world.birth)[np.arange(told.ads) % 50 != 25] * HOUR
    assert life.mean() == pytest.approx(told.ad_lifetime, rel=0.03)
    assert (life <= 1.5 * told.ad_lifetime).all()


def test_traffic_and_ctr_have_a_daily_rhythm(defaults: Simulation) -> None:
    told = SimulatorSettings(**defaults.document["settings"])
    truth = pq.read_table(defaults.truth, columns=["ts", "true_p"])
    ts, p = truth["ts"].to_numpy(), truth["true_p"].to_numpy()
    assert (np.diff(ts) >= 0).all()
    assert told.start_ms <= ts[0]
    assert ts[-1] < told.start_ms + told.duration
    hour = ts // HOUR % 24
    traffic = np.bincount(hour, minlength=24)
    ctr = np.bincount(hour, weights=p) / traffic
    assert traffic.argmax() == 20
    assert traffic.argmin() == 4
    swing = told.traffic_swing
    assert traffic[20] / traffic[4] == pytest.approx((1 + swing) / (1 - swing), rel=0.05)
    assert ctr[20] / ctr[4] == pytest.approx(math.exp(2 * told.ctr_swing), rel=0.1)


@pytest.mark.parametrize(
    ("median", "window", "beyond", "longest"),
    [(20_000, 1_800_000, 0.02, 21_600_000), (10, 1_000, 0.4999, 1_001), (500, 60_000, 1e-6, DAY)],
)
def test_delays_have_their_median_and_tail(
    median: int, window: int, beyond: float, longest: int
) -> None:
    delays = Delays(median, window, beyond, longest)
    u = np.arange(100_000) / 100_000
    d = delays.quantile(u)
    assert (np.diff(d) >= 0).all()
    assert d[0] >= 1
    assert d[-1] <= longest
    assert delays.quantile(np.array([0.5]))[0] == pytest.approx(median, abs=1)
    assert np.mean(d > window) == pytest.approx(beyond, abs=2e-5)
    assert delays.quantile(np.array([1 - 2.0**-53]))[0] == pytest.approx(longest, rel=0.01)
