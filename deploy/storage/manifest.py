"""The manifest of a serving version: its origin, its contents, and its digests."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ftrl import Cut
from ftrl.features import FeatureConfig

_WEIGHT = np.dtype(np.int16)
_WHOLE: dict[str, np.dtype[Any]] = {"keys": np.dtype(np.uint64), "weights": _WEIGHT}
_GROUPED: dict[str, np.dtype[Any]] = {
    "groups": np.dtype(np.uint16),
    "keys": np.dtype(np.uint32),
    "weights": _WEIGHT,
}
TOMBSTONES = "gone"  # as the store calls the column
COLUMNS = (*_GROUPED, TOMBSTONES)  # all there may be


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a serving version: its origin, its contents, and its digests.

    ts: the event-time mark it was made at, ms, or None for the end of the input. cut: the
    learner's progress then. groups: in how many groups the keys are, 0 if they are whole
    (`ftrl.table.layout`); without it a scorer finds no feature. weights: how many are non-zero.
    saturated: how many lay outside q2.13's [-4, 4). tombstones: how many keys had a weight in the
    parent and have none now; a scorer that holds the parent drops them. bias: float64, exact.
    pages: the digests (keys, weights) of each page. group_pages, tombstone_pages: the digests of
    the other columns' pages.
    """

    version: int
    parent: int | None
    made_by: str
    ts: int | None
    cut: Cut
    features: FeatureConfig
    click_types: tuple[str, ...]
    groups: int
    weights: int
    saturated: int
    tombstones: int
    bias: float
    pages: tuple[tuple[str, str], ...]
    group_pages: tuple[str, ...]
    tombstone_pages: tuple[str, ...]

    @property
    def columns(self) -> dict[str, np.dtype[Any]]:
        """The types of the columns it is stored in, by name."""
        return _GROUPED if self.groups else _WHOLE

    @property
    def bytes(self) -> int:
        """Bytes of its groups, keys and weights."""
        sizes = {name: dtype.itemsize for name, dtype in self.columns.items()}
        return self.groups * sizes.get("groups", 0) + self.weights * (
            sizes["keys"] + sizes["weights"]
        )

    def summary(self) -> dict[str, Any]:
        """One line of a listing."""
        return {
            "version": self.version,
            "ts": self.cut.ts if self.ts is None else self.ts,
            "examples": self.cut.examples,
            "nonzero": self.weights,
            "bytes": self.bytes,
        }

    def to_json(self) -> dict[str, Any]:
        """Every field as plain JSON; the bias in hexadecimal, so that no digit is lost."""
        return {
            "version": self.version,
            "parent": self.parent,
            "kind": "full",
            "made_by": self.made_by,
            "ts": self.ts,
            "cut": {"examples": self.cut.examples, "ts": self.cut.ts, "place": self.cut.place},
            "features": self.features.model_dump(mode="json"),
            "click_types": self.click_types,
            "groups": self.groups,
            "weights": self.weights,
            "saturated": self.saturated,
            "gone": self.tombstones,
            "bias": self.bias.hex(),
            "pages": self.pages,
            "group_pages": self.group_pages,
            "gone_pages": self.tombstone_pages,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Manifest":
        """The manifest that `to_json` gave. Raises KeyError, TypeError or ValueError."""
        cut = values["cut"]
        place = cut["place"]
        if place is not None:
            file, row = place
            place = _whole(file), _whole(row)
        return cls(
            version=_whole(values["version"]),
            parent=_whole_or_none(values["parent"]),
            made_by=values["made_by"],
            ts=_whole_or_none(values["ts"]),
            cut=Cut(_whole(cut["examples"]), _whole_or_none(cut["ts"]), place),
            features=FeatureConfig.model_validate(values["features"]),
            click_types=tuple(values["click_types"]),
            groups=_whole(values.get("groups", 0)),  # older versions know only whole keys
            weights=_whole(values["weights"]),
            saturated=_whole(values["saturated"]),
            tombstones=_whole(values.get("gone", 0)),  # older versions do not say
            bias=float.fromhex(values["bias"]),
            pages=tuple((k, w) for k, w in values["pages"]),
            group_pages=tuple(values.get("group_pages", ())),
            tombstone_pages=tuple(values.get("gone_pages", ())),
        )


def _whole(value: Any) -> int:
    """A number that 63 bits hold. Raises ValueError where JSON has anything else."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is not a whole number from 0")
    return value


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else _whole(value)
