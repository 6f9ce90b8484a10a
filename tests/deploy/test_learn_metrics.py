"""What the learner tells Prometheus of its model."""

from pathlib import Path

import pytest

from deploy import settings
from deploy.workers.learn.metrics import LearnMetrics
from ftrl.training import Training
from tests.support import small_logs
from tests.support.learning import learn, random_rows

# As Prometheus knows them, and as the stats do.
NAMES = {
    "features": "features_admitted",
    "filter_fill": "filter_fill",
    "false_admissions": "false_admissions",
    "false_positives": "false_positives",
    "false_positives_in_theory": "false_positives_in_theory",
}


@pytest.fixture
def values(tmp_path: Path) -> settings.Settings:
    config = tmp_path / "config.toml"
    config.write_text(small_logs.CONFIG.replace("memory = 1", "memory = 0.004"))
    return settings.load(config)


def told(values: settings.Settings) -> dict[str, float]:
    """The gauges after some hundred features that crowd the filters, as a scraper reads them."""
    metrics, training = LearnMetrics(dict, lambda: True), Training(values.training, lambda _: None)
    learn(training.learner, random_rows(400, fields=8, features=3000, seed=3))
    metrics.model(training)
    found = {name: metrics.registry.get_sample_value(f"clickloop_learn_{name}") for name in NAMES}
    stats = training.learner.stats()
    assert found == {name: getattr(stats, of) for name, of in NAMES.items()}
    return {name: value for name, value in found.items() if value is not None}


def test_how_often_filters_err_stands_beside_the_theory(values: settings.Settings) -> None:
    found = told(values)
    assert 0.2 < found["filter_fill"] < 1
    assert 0 < found["false_admissions"] < 1
    assert found["false_positives"] == pytest.approx(found["false_positives_in_theory"], rel=0.3)


def test_without_filters_all_are_0(values: settings.Settings) -> None:
    off = values.admission.model_copy(update={"kind": "off"})
    found = told(values.model_copy(update={"admission": off}))
    assert found.pop("features") > 100
    assert set(found.values()) == {0}
