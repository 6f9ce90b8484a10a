"""What may change between two runs that share a store or a topic, in one place.

    settings    those a store was made with must be the same, but for what is listed here
    features    fields and crosses may be added (`ftrl.features`)
    defaults    a store or topic keeps those it began with (`Version.settings`)
    rules       may change: what was read stays as it was judged (`streams.rules`)

The joiner has its own word on what it is given: its click types must stay, and a state goes on
with the settings it was saved with until others are adopted (`joiner.core.state`, `Joiner.adopt`).
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from deploy.settings import Settings, key_name, listed, reason
from ftrl.features import FeatureConfig, change
from streams.errors import ConfigError
from streams.rules import TODAY, RuleNumbers

# Defaults that changed, by the number of the rule `defaults` that changed them: the value before,
# as TOML has it, by key (`section.key`; a `*` is each field: `features.fields.*.mantissa_bits`).
CHANGED: dict[int, dict[str, Any]] = {}

# Of a finished or stopped replay these may change.
_FREE_OF_REPLAY = {"snapshots.checkpoint_every", "spill.memory_budget", "spill.folder"}
# Of the settings only these must be those a learner's state was saved with.
_FIXED_OF_LEARNER = ("features", "learner", "admission", "calibration")
# What a run over files does not depend on, and what a model may go on with otherwise.
_ELSEWHERE = {"kafka", "topics", "worker"}
_FREE = {"admission.thresholds", "learner.threads"}


def differences(settings: Settings, saved: dict[str, Any], free: Set[str]) -> list[str]:
    """Where `settings` differ from `saved` ones (plain JSON) as they must not: a line a key.

    free: keys (`section.key`) and whole sections that may differ. Of [features] only what would
    give old weights another meaning counts (`ftrl.features.compatibility`). A setting that came
    after `saved` had its default then: a new one leaves everything as it was.
    """
    now, then = _flat(settings.model_dump(mode="json")), _DEFAULTS | _flat(saved)
    features: list[str] = []
    if "features" not in free:
        before = _features_of(saved)
        features = [f"[features] {text}" for text in change(before, settings.features).problems]
    elsewhere = free | _ELSEWHERE | _FREE | {"features"}
    return features + [
        f"{key_name(key.split('.'))}: {now.get(key)!r} here, {then.get(key)!r} in the checkpoint"
        for key in sorted(now.keys() | then.keys())
        if not elsewhere & _paths(key) and now.get(key) != then.get(key)
    ]


def _features_of(saved: dict[str, Any]) -> FeatureConfig:
    try:
        return FeatureConfig.model_validate(saved["features"])
    except ValidationError as error:
        raise ConfigError(
            "the model was learned with [features] that this version of clickloop does not take "
            f"({error.errors()[0]['msg']}); go on with the version that wrote it, or start a new "
            "model"
        ) from None


def _paths(key: str) -> set[str]:
    """A key, and all tables it is in."""
    parts = key.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


_DEFAULTS = _flat(
    {
        name: section.default.model_dump(mode="json")
        for name, section in Settings.model_fields.items()
        if isinstance(section.default, BaseModel)
    }
)


@dataclass(frozen=True)
class Version:
    """What a version of the program goes by: its rules, and the defaults that changed before it."""

    rules: RuleNumbers = TODAY
    changed: Mapping[int, Mapping[str, Any]] = field(default_factory=lambda: CHANGED)

    def settings(self, settings: Settings, defaults: int) -> Settings:
        """The settings, with the defaults of that number in place of what nobody has set.

        Set is what the file or the environment says. Raises ConfigError if what is set does not
        go together with those defaults.
        """
        before: dict[str, Any] = {}
        for number in sorted(self.changed, reverse=True):
            if number > defaults:
                before |= self.changed[number]
        for key, value in before.items():
            section, *path = key.split(".")
            try:
                part = _with_default(getattr(settings, section), path, value)
            except ValidationError as error:
                where = f"the settings, with the default {key} = {value!r} of when this began"
                problem = reason(error.errors()[0], "")
                raise ConfigError(listed(where, [f"[{section}]: {problem}"])) from None
            settings = settings.model_copy(update={section: part})
        return settings

    def since(self, named: RuleNumbers) -> "RuleNumbers":
        """Today's rules, for what began by those `named`: it keeps its defaults."""
        return replace(self.rules, defaults=named.defaults)

    def named_in(self, store: Path, values: Mapping[str, Any]) -> RuleNumbers:
        """The rules that a checkpoint in `store` was made by. Raises ConfigError for newer ones."""
        try:
            return RuleNumbers.of(values, self.rules)
        except ValueError as error:
            raise ConfigError(f"{store}: its checkpoint was {error}") from None


THIS = Version()


def _with_default(part: Any, path: Sequence[str], value: Any) -> Any:
    """A part of the settings, with a value where nobody has set one."""
    name, *rest = path
    if name == "*":
        return {key: _with_default(each, rest, value) for key, each in part.items()}
    assert isinstance(part, BaseModel)
    if not rest and name in part.model_fields_set:
        return part
    found = {key: getattr(part, key) for key in part.model_fields_set}
    found[name] = _with_default(getattr(part, name), rest, value) if rest else value
    return type(part).model_validate(found)


def check_replay(store: Path, settings: Settings, saved: Mapping[str, Any]) -> None:
    """Raise ConfigError if a replay with these settings cannot go on with the one in `store`.

    saved: the values of its checkpoint.
    """
    before = saved["settings"]
    different = differences(settings, before, _FREE_OF_REPLAY)
    if different:
        raise ConfigError(
            f"{store}: saved with other settings, so it cannot go on with these; "
            "use the same (fields and crosses may be added), or name a new folder:\n  "
            + "\n  ".join(different)
        )
    if saved["finished"] and _features_of(before) != settings.features:
        raise ConfigError(
            f"{store}: the run is over, so nothing would be learned with the "
            "changed [features]; replay into a new folder with them, or go on from its "
            "weights: `clickloop worker learn --from`"
        )


def check_learner(store: Path, settings: Settings, saved: dict[str, Any]) -> None:
    """Raise ConfigError if a learner cannot go on with what was `saved` with other settings."""
    _check_sections(store, settings, saved, _FIXED_OF_LEARNER)


def check_weights(source: Path, settings: Settings, saved: dict[str, Any]) -> None:
    """Raise ConfigError if a learner cannot begin with the weights in `source`."""
    _check_sections(source, settings, saved, ("features",))


def _check_sections(
    where: Path, settings: Settings, saved: dict[str, Any], sections: tuple[str, ...]
) -> None:
    free = (Settings.model_fields.keys() | saved.keys()) - set(sections)
    different = differences(settings, saved, free)
    if different:
        raise ConfigError(
            f"{where}: these settings are not those the model was learned with; "
            "use the same (fields and crosses may be added), or go on in a new folder (--from "
            "takes the weights along if the features allow it):\n  " + "\n  ".join(different)
        )
