"""One TOML file, typed and validated at start, every problem listed at once.

`CLICKLOOP_SECTION__KEY` environment variables override the file.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ftrl import AdmissionSettings, LearnerSettings, TrainingSettings
from ftrl.features import FeatureConfig
from joiner import JoinSettings, SamplingSettings
from streams.duration import Duration
from streams.errors import ConfigError
from streams.files import GuardSettings
from streams.kafka import SECRETS, KafkaSettings, TopicSettings
from streams.schema import EventSchema
from streams.spill import SpillSettings

ENV_PREFIX = "CLICKLOOP_"


class SnapshotSettings(BaseModel, frozen=True, extra="forbid"):
    """When serving versions are published, and training checkpoints saved."""

    every: Duration = Field(
        default=6 * 3_600_000,
        description="Publish a serving version whenever the event time of the examples passes "
        "a multiple of this, and at the end. Duration; 0 publishes only at the end.",
    )
    checkpoint_every: int = Field(
        default=1_000_000,
        ge=0,
        description="Save a training checkpoint after so many impressions, for `--resume`. More "
        "often costs time, less often repeats more work after a crash; the results are the same. "
        "Impressions, in `worker learn` examples; 0 does not count them: a replay then saves only "
        "at the end.",
    )


class CalibrationSettings(BaseModel, frozen=True, extra="forbid"):
    """How predictions are judged."""

    bucket: Duration = Field(
        default=3_600_000,
        ge=1000,
        description="Width of the event-time buckets that metrics are reported for. Duration, "
        "at least 1s; doubles by itself when a run has more than 512 buckets.",
    )


class WorkerSettings(BaseModel, frozen=True, extra="forbid"):
    """How workers are watched, and how often the learner saves."""

    join_http: str = Field(
        default="127.0.0.1:9101",
        description="Where `worker join` answers HTTP: /healthz, /readyz and /metrics, without a "
        "password, to everyone who can reach it. `host:port`; port 0 takes any that is free; host "
        "0.0.0.0 lets other machines in.",
    )
    learn_http: str = Field(
        default="127.0.0.1:9102",
        description="The same for `worker learn`. `host:port`; workers of one machine need ports "
        "of their own.",
    )
    linger: Duration = Field(
        default=50,
        le=5_000,
        description="`worker join` gathers what comes for so long before it joins it: fewer and "
        "larger blocks for some delay. A duration, 0 to 5s.",
    )
    idle_timeout: Duration = Field(
        default=10_000,
        ge=100,
        description="A topic that is read to its end and silent for so long does not hold the "
        "watermark back, unless the breaker is open. A duration, at least 100ms; longer than the "
        "pauses of a producer that is well.",
    )
    stuck_after: Duration = Field(
        default=300_000,
        ge=1000,
        description="A worker that has messages to read, and for so long has finished none, ends "
        "with an error, so that whoever runs it starts it again. A duration, at least 1s; much "
        "longer than a chunk takes.",
    )
    save_every: Duration = Field(
        default=30_000,
        ge=100,
        description="The learner saves its state when so much time has passed since the last save "
        "(or, sooner, `snapshots.checkpoint_every` examples): what it would learn again after a "
        "crash. A duration, at least 100ms.",
    )

    @field_validator("join_http", "learn_http")
    @classmethod
    def _check_address(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"{address!r} is not `host:port`")
        return address


class Settings(BaseSettings):
    """All settings of a run, one attribute a section of the file.

    >>> from clickloop import Settings
    >>> Settings.load("logs/config.toml").join.window  # ms
    1800000
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__"
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    logs: GuardSettings = GuardSettings()
    join: JoinSettings = JoinSettings()
    features: FeatureConfig
    learner: LearnerSettings = LearnerSettings()
    admission: AdmissionSettings = AdmissionSettings()
    sampling: SamplingSettings = SamplingSettings()
    spill: SpillSettings = SpillSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    worker: WorkerSettings = WorkerSettings()

    @field_validator("admission")
    @classmethod
    def _check_thresholds(
        cls, admission: AdmissionSettings, info: ValidationInfo
    ) -> AdmissionSettings:
        features: FeatureConfig | None = info.data.get("features")
        if features is not None:  # else it has mistakes of its own, listed beside these
            unknown = admission.thresholds.keys() - {*features.fields, *features.crosses}
            if unknown:
                raise ValueError(
                    f"thresholds: [features] has no such field or cross: {sorted(unknown)}"
                )
        return admission

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

    @classmethod
    def load(cls, path: Path | str) -> "Settings":
        """The settings in the TOML file at `path`. Raises ConfigError that lists every problem."""
        return load(Path(path))

    @property
    def events(self) -> EventSchema:
        """The records these settings declare."""
        return self.features.event_schema(self.join.click_types)

    @property
    def training(self) -> TrainingSettings:
        """What training goes by. A correction comes while its impression is known."""
        return TrainingSettings(
            features=self.features,
            learner=self.learner,
            admission=self.admission,
            bucket=self.calibration.bucket,
            correction_span=self.join.known_span if self.join.correction_horizon else None,
            mark_every=self.snapshots.every,
        )


def load(path: Path) -> Settings:
    """The settings in the TOML file at `path`.

    Raises ConfigError that lists every problem, each with its section and key.
    """
    try:
        # Some editors begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read the settings: {error.strerror}; check the path and its rights"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: cannot read the settings: byte {error.start + 1} is not UTF-8; save the "
            "file as UTF-8"
        ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return parse(values, str(path))


def parse(values: dict[str, Any], where: str) -> Settings:
    """The settings in `values`, as TOML gives them; `where` is named in errors."""
    values, problems = _without_secrets(values)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        known = "see clickloop.example.toml for all of them"
        problems += [f"{key_name(each['loc'])}: {reason(each, known)}" for each in error.errors()]
        raise ConfigError(listed(where, problems)) from None
    if problems:
        raise ConfigError(listed(where, problems))
    return settings


def _without_secrets(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The same without secrets, which must not stand in a file, and a problem for each of them."""
    kafka = values.get("kafka")
    found = [key for key in SECRETS if key in kafka] if isinstance(kafka, dict) else []
    if not found or not isinstance(kafka, dict):
        return values, []
    kept = {key: value for key, value in kafka.items() if key not in found}
    problems = [
        f"[kafka] {key}: a secret does not belong in a file; take it out, change it, and set the "
        f"environment variable {ENV_PREFIX}KAFKA__{key.upper()} instead"
        for key in found
    ]
    return values | {"kafka": kept}, problems


def listed(where: str, problems: Sequence[str]) -> str:
    """All `problems` that were found in the settings that come from `where`, a line each."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{where}: {count} in the settings:", *(f"  {p}" for p in problems)])


def reason(problem: Any, known: str) -> str:
    """What one of pydantic's `ValidationError.errors()` means to an operator.

    known: how to find the settings there are, for one that does not exist.
    """
    kind, text = problem["type"], str(problem["msg"])
    if kind == "extra_forbidden":
        return f"no such setting; {known}"
    if kind == "missing":
        return "missing, and it has no default"
    if kind in ("model_type", "dict_type"):
        text = "a table of keys is expected"
    text = text.removeprefix("Value error, ")
    found = problem.get("input")
    if problem["loc"] and problem["loc"][-1] in SECRETS:
        return text
    simple = isinstance(found, str | int | float | bool)
    return f"{text} (found {found!r})" if simple and kind != "value_error" else text


def key_name(location: Sequence[int | str]) -> str:
    """A key as the file has it: `[section] key`."""
    section, *rest = (str(part) for part in location)
    return f"[{section}] {'.'.join(rest)}" if rest else f"[{section}]"
