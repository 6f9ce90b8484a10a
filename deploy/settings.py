"""One TOML file, typed and validated at start, every problem listed at once.

`CLICKLOOP_SECTION__KEY` environment variables override the file.
"""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ftrl.config import FeatureConfig
from ftrl.settings import AdmissionSettings, LearnerSettings
from joiner.settings import JoinSettings, SamplingSettings
from streams.duration import Duration
from streams.errors import ConfigError
from streams.guard import GuardSettings
from streams.schema import EventSchema

ENV_PREFIX = "CLICKLOOP_"


class SnapshotSettings(BaseModel):
    """When serving versions are published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: Duration = Field(
        default=6 * 3_600_000,
        description="Publish a serving version whenever the event time of the examples passes "
        "a multiple of this, and at the end. Duration; 0 publishes only at the end.",
    )


class CalibrationSettings(BaseModel):
    """How predictions are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: Duration = Field(
        default=3_600_000,
        ge=1000,
        description="Width of the event-time buckets that metrics are reported for. Duration, "
        "at least 1s; doubles by itself when a run has more than 512 buckets.",
    )


class Settings(BaseSettings):
    """All settings of a run, one attribute a section of the file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__"
    )

    logs: GuardSettings = GuardSettings()
    join: JoinSettings = JoinSettings()
    features: FeatureConfig
    learner: LearnerSettings = LearnerSettings()
    admission: AdmissionSettings = AdmissionSettings()
    sampling: SamplingSettings = SamplingSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    calibration: CalibrationSettings = CalibrationSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values come as arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def events(self) -> EventSchema:
        """The records these settings declare."""
        return self.features.event_schema(self.join.click_types)


def load(path: Path) -> Settings:
    """The settings in the TOML file at `path`.

    Raises ConfigError that lists every problem, each with its section and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the settings: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return parse(values, str(path))


def parse(values: dict[str, Any], where: str) -> Settings:
    """The settings in `values`, as TOML gives them; `where` is named in errors."""
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [f"{where}: {_count(error.error_count())}:"]
        lines += [f"  {_key(problem['loc'])}: {_reason(problem)}" for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _count(problems: int) -> str:
    return "1 problem in the settings" if problems == 1 else f"{problems} problems in the settings"


def _key(location: tuple[int | str, ...]) -> str:
    section, *rest = (str(part) for part in location)
    return f"[{section}] {'.'.join(rest)}" if rest else f"[{section}]"


def _reason(problem: Any) -> str:
    kind, text = problem["type"], str(problem["msg"])
    if kind == "extra_forbidden":
        return "no such setting; see clickloop.example.toml for all of them"
    if kind == "missing":
        return "missing, and it has no default"
    text = text.removeprefix("Value error, ")
    found = problem.get("input")
    simple = isinstance(found, str | int | float | bool)
    return f"{text} (found {found!r})" if simple and kind != "value_error" else text
