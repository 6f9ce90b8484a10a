"""Settings: typed, ranged, overridable, and every mistake named at once."""

import tomllib
from pathlib import Path

import pytest

from deploy import settings
from streams.duration import milliseconds, readable
from streams.errors import ConfigError
from tests import ROOT

MINIMAL = '[features.fields]\ncity = { kind = "categorical" }\n'
FOUR = '[features]\ncrosses = ["a^b^c^d"]\n[features.fields]\n' + "".join(
    f'{name} = {{ kind = "categorical" }}\n' for name in "abcd"
)


def load(tmp_path: Path, text: str) -> settings.Settings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return settings.load(path)


def test_one_field_is_enough(tmp_path: Path) -> None:
    loaded = load(tmp_path, MINIMAL)
    assert loaded.join.window == 1_800_000
    assert [f.name for f in loaded.events.fields] == ["city"]


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("10s", 10_000), ("30m", 1_800_000), ("1.5h", 5_400_000), ("2d", 172_800_000)],
)
def test_durations(text: str, ms: int) -> None:
    assert milliseconds(text) == ms
    assert milliseconds(readable(ms)) == ms


def test_ten_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            """
            [join]
            window = "half an hour"
            lateness = -5
            click_types = ["hide"]
            windows = "30m"
            [learner]
            alpha = 0
            l1 = "much"
            layout = "float16"
            [sampling]
            keep_rate = 1.5
            [admissions]
            kind = "bloom"
            [features]
            crosses = ["city^city"]
            [features.fields]
            city = { kind = "categorical", hash_ass = "town" }
            """,
        )
    message = str(caught.value)
    assert message.splitlines()[0].endswith("11 problems in the settings:")
    for part in (
        "[join] window: 'half an hour' is not a duration; write 250ms, 10s, 30m, 2h or 1d",
        "[join] lateness: Input should be greater than or equal to 0 (found -5)",
        "[join] windows: no such setting; see clickloop.example.toml",
        "[learner] alpha: Input should be greater than 0 (found 0",
        "[learner] l1: ",
        "[learner] layout: ",
        "[sampling] keep_rate: Input should be less than or equal to 1 (found 1.5)",
        "[admissions]: no such setting",
        "[features] fields.city.hash_ass: no such setting",
        "[features] crosses: cross 'city^city': name two or three different fields",
        "[join] click_types: the first must be 'click'",
    ):
        assert part in message


def test_thresholds_are_of_fields_and_crosses_there_are(tmp_path: Path) -> None:
    text = """
        [features]
        crosses = ["city^ad"]
        [features.fields]
        city = { kind = "categorical" }
        ad = { kind = "categorical" }
        [admission.thresholds]
        city = 0
        "city^ad" = 5
        """
    assert load(tmp_path, text).admission.thresholds == {"city": 0, "city^ad": 5}
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + 'town = 1\n"ad^city" = 2\nad = 16\n')
    assert "[admission] thresholds.ad: Input should be less than or equal to 15" in str(
        caught.value
    )
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + 'town = 1\n"ad^city" = 2\n')
    expected = "[admission]: thresholds: [features] has no such field or cross: ['ad^city', 'town']"
    assert expected in str(caught.value)


def test_environment_wins_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKLOOP_LEARNER__ALPHA", "0.7")
    monkeypatch.setenv("CLICKLOOP_JOIN__WINDOW", "5m")
    loaded = load(tmp_path, MINIMAL + '[join]\nwindow = "1h"\nlateness = "1s"\n')
    assert loaded.learner.alpha == 0.7
    assert loaded.join.window == 300_000
    assert loaded.join.lateness == 1_000
    monkeypatch.setenv("CLICKLOOP_LEARNER__ALPHA", "fast")
    with pytest.raises(ConfigError, match=r"\[learner\] alpha"):
        load(tmp_path, MINIMAL)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("= 3", "not valid TOML"),
        ("", r"\[features\]: missing, and it has no default"),
        ("[features]\nfields = {}\n", "declare at least one field"),
        (MINIMAL + MINIMAL, "not valid TOML"),
        ('[features]\ncrosses = ["city^zip"]\n' + MINIMAL, "no such field: zip"),
        ('[features]\ncrosses = ["city^city"]\n' + MINIMAL, "two or three different fields"),
        ('[features]\ncrosses = ["city"]\n' + MINIMAL, "two or three different fields"),
        (FOUR, "cross 'a\\^b\\^c\\^d': name two or three different fields"),
    ],
)
def test_files_that_cannot_work(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path, text)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot read the settings"):
        settings.load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "docs" / "examples").glob("*.toml")),
        ROOT / "clickloop.example.toml",
        ROOT / "deploy" / "demo" / "open_bandit.toml",
    ],
    ids=lambda p: p.name,
)
def test_shipped_settings_load(path: Path) -> None:
    settings.parse(tomllib.loads(path.read_text()), str(path))
