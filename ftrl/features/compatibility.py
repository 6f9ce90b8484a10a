"""What may change about the features of a model that has learned: fields and crosses may be added.

A weight belongs to a coordinate, the hash of a value under its field's name. A new field or cross
starts with no weights, so the predictions go on from what they were. A change is refused if old
weights would be left out, or would be used for other values than those they were learned from.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ftrl.features.config import FeatureConfig, FieldConfig


@dataclass(frozen=True, slots=True)
class Change:
    """The change from one feature configuration to another.

    names: by field of the configuration before, its name now; a field may be renamed if it hashes
    as it did (`hash_as`). problems: why the model cannot go on, a line each, naming field or cross;
    () if it can.
    """

    names: dict[str, str]
    problems: tuple[str, ...]


def change(before: FeatureConfig, now: FeatureConfig) -> Change:
    """The change since a model learned with the features `before`."""
    names = _names(before, now)
    problems: list[str] = []
    for name, field in before.fields.items():
        if name in names:
            problems += _differences(name, field, now.fields[names[name]])
        else:
            problems.append(f"fields.{name}: {_why_lost(name, before, now)}")
    taken = {_hashed_as(before, name): name for name in before.fields}
    problems += [
        f"fields.{name}: hashes as {_hashed_as(now, name)!r}, as {taken[_hashed_as(now, name)]} "
        "did, whose weights it would take for its own; give it another hash_as"
        for name in now.fields
        if name not in names.values() and _hashed_as(now, name) in taken
    ]
    return Change(names, tuple(problems + _lost_crosses(before, now)))


def _names(before: FeatureConfig, now: FeatureConfig) -> dict[str, str]:
    """By each field of `before`, the one that hashes as it did, if any; the same name first."""
    left = {name: _hashed_as(now, name) for name in now.fields}
    names = {name: name for name in before.fields if left.get(name) == _hashed_as(before, name)}
    for name in names:
        del left[name]
    for name in before.fields:
        found = [other for other in left if left[other] == _hashed_as(before, name)]
        if name not in names and found:
            names[name] = found[0]
            del left[found[0]]
    return names


def _lost_crosses(before: FeatureConfig, now: FeatureConfig) -> list[str]:
    """A line for each cross that is lost, and for each new one that would take over weights."""
    counts = Counter(_cross_hashed_as(now, cross) for cross in now.crosses)
    counts_before = Counter(_cross_hashed_as(before, cross) for cross in before.crosses)
    lost = [
        f"crosses: {cross} is gone, or its parts are in another order; its weights would be "
        "missing from every prediction: leave it as it was"
        for cross in before.crosses
        if not counts[_cross_hashed_as(before, cross)]
    ]
    return lost + [
        f"crosses: {cross} hashes as one that was there before, whose weights it would take for "
        "its own; give one of its fields another hash_as"
        for cross in now.crosses
        if cross not in before.crosses
        and 0 < counts_before[_cross_hashed_as(now, cross)] < counts[_cross_hashed_as(now, cross)]
    ]


def _hashed_as(config: FeatureConfig, name: str) -> str:
    renamed = config.fields[name].hash_as
    return name if renamed is None else renamed


def _cross_hashed_as(config: FeatureConfig, cross: str) -> tuple[str, ...]:
    return tuple(_hashed_as(config, part) for part in cross.split("^"))


def _why_lost(name: str, before: FeatureConfig, now: FeatureConfig) -> str:
    """What became of a field of `before` that no field hashes as now."""
    hashed_as = _hashed_as(before, name)
    if name in now.fields:
        return (
            f"hashed as {hashed_as!r}, now as {_hashed_as(now, name)!r}; none of its weights would "
            "be found: leave hash_as as it was"
        )
    return (
        "is gone; its weights would be missing from every prediction: keep it, or, if it has "
        f'another name now, give that one hash_as = "{hashed_as}"'
    )


def _meaning(field: FieldConfig) -> dict[str, Any]:
    """What a field's coordinates depend on but for its name and value, without `serve_as`.

    Only scorers use `serve_as`.
    """
    found: dict[str, Any] = {"kind": field.kind}
    if field.kind == "categorical":
        found["dtype"] = field.dtype
    if field.kind == "number":
        found["encoding"] = field.encoding
        if field.encoding == "bucket":
            found["mantissa_bits"] = field.mantissa_bits
        if field.encoding == "quantile":
            found["edges"] = field.edges
            if field.edges is None:
                found |= {"quantiles": field.quantiles, "learn_edges_from": field.learn_edges_from}
    return found


def _differences(name: str, before: FieldConfig, now: FieldConfig) -> list[str]:
    """A line for each setting of a field that has changed what its weights are for."""
    old, new = _meaning(before), _meaning(now)
    return [
        f"fields.{name}: {key} was {old[key]!r}, now it is {new[key]!r}; its weights were "
        "learned for other values: leave it, and add a field beside it or start a new model"
        for key in old
        if key in new and old[key] != new[key]
    ]
