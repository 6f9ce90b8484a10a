"""The simulator's world: users, ads, publishers, and what is shown to whom, when.

Who sees what follows Zipf's law; ads are born and die on the hour; traffic has a daily rhythm.
Impression i depends on the settings and i alone.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.compute.arrays import F64, I64, Bool
from streams.schema import EventSchema, Field, ValueType
from streams.simulator.reproducible import Random, exp, log
from streams.simulator.settings import HOUR, SimulatorSettings

CATEGORIES, COUNTRIES, PROFILES = 20, 25, 400
DEVICES = ("android", "ios", "desktop", "tablet", "tv")
_DEVICE_SHARES = (0.42, 0.29, 0.19, 0.07, 0.03)
_LOGGED_IN_SHARE = 0.4
_UNKNOWN_COUNTRY = 0  # its users' rows say null
_EVERGREEN = 50  # one ad in so many lives throughout
# From −1 at the quietest hour to 1 at the busiest: lowest before dawn, highest in the evening.
DAILY = np.array([-3, -6, -8, -9, -10, -9, -7, -4, -1, 1, 2, 3,
                  4, 4, 3, 3, 4, 5, 7, 9, 10, 8, 4, 0]) / 10.0  # fmt: skip

Entity = Literal["user", "ad", "publisher", "device", "hour", "logged_in"]


@dataclass(frozen=True, slots=True)
class Column:
    """One feature field: `values[code]` for each code of its entity."""

    name: str
    type: ValueType
    entity: Entity
    values: pa.Array


@dataclass(frozen=True, slots=True)
class Shown:
    """Impressions as codes, one array entry each: when (ms), to whom, what, where."""

    index: I64
    time: I64
    user: I64
    ad: I64
    publisher: I64
    device: I64
    hour: I64
    logged_in: I64
    position: I64


def zipf(count: int, exponent: float) -> F64:
    """Weights k^−exponent for k = 1 … count."""
    return exp(-exponent * log(np.arange(1, count + 1, dtype=np.float64)))


def choose(sums: F64, u: F64) -> I64:
    """For each u in [0, 1), an index, in proportion to the weights whose running sums these are."""
    index: I64 = np.searchsorted(sums, u * sums[-1], side="right")
    return np.minimum(index, len(sums) - 1)


class World:
    """Everything that exists, fixed by the settings, with a code for each thing."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.random = Random(settings.seed)
        self._people()
        self._adverts()
        self._hours()

    def _people(self) -> None:
        """Users' countries and interests (a profile is a list of 0 to 3 categories)."""
        s, random = self.settings, self.random
        users = np.arange(s.users)
        self.country: I64 = random.below("country", users, COUNTRIES)
        self.profile: I64 = random.below("profile", users, PROFILES)
        profiles = np.arange(PROFILES)
        picks = random.below("interest", np.arange(3 * PROFILES), CATEGORIES)
        self.interests: list[list[int]] = [
            sorted(set(row[:size].tolist()))
            for row, size in zip(
                picks.reshape(PROFILES, 3), random.below("interests", profiles, 4), strict=True
            )
        ]
        self._user_sums = np.cumsum(zipf(s.users, s.zipf_users))
        self._publisher_sums = np.cumsum(zipf(s.publishers, s.zipf_publishers))

    def _adverts(self) -> None:
        """Ads' advertisers, categories, prices and lives [birth, death) in hours from start."""
        s, random = self.settings, self.random
        ads = np.arange(s.ads)
        self.advertiser: I64 = random.below("advertiser", ads, s.advertisers)
        self.category: I64 = random.below("category", ads, CATEGORIES)
        # From 1 to 1,000, uniform in the logarithm, in whole cents.
        exponent = log(np.array([1000.0])) * random.uniform("price", ads)
        self.price: F64 = (100.0 * exp(exponent)).astype(np.int64) / 100.0
        hours = -(-(s.start_ms % HOUR + s.duration) // HOUR)
        mean = s.ad_lifetime // HOUR
        life = np.maximum(1, (mean * (0.5 + random.uniform("life", ads))).astype(np.int64))
        evergreen = ads % _EVERGREEN == _EVERGREEN // 2
        birth = random.below("birth", ads, hours + 2 * mean) - 2 * mean
        self.birth: I64 = np.where(evergreen, 0, birth)
        self.death: I64 = np.where(evergreen, hours, birth + life)
        self._ad_weights = zipf(s.ads, s.zipf_ads)

    def _hours(self) -> None:
        """The traffic that has passed at each hour mark, for drawing times."""
        s = self.settings
        first = s.start_ms // HOUR
        last = -(-(s.start_ms + s.duration) // HOUR)
        marks = np.arange(first, last + 1) * HOUR
        marks[0], marks[-1] = s.start_ms, s.start_ms + s.duration
        intensity = 1.0 + s.traffic_swing * DAILY[np.arange(first, last) % 24]
        self.first_hour = first
        self._marks: I64 = marks
        self._passed = np.concatenate([[0.0], np.cumsum(intensity * np.diff(marks))])

    def shown(self, index: I64) -> Shown:
        """The impressions of these indices (ascending); their times ascend with them."""
        s, random = self.settings, self.random
        time = self._times(index)
        hour = time // HOUR
        return Shown(
            index=index,
            time=time,
            user=choose(self._user_sums, random.uniform("shown user", index)),
            ad=self._ads_at(hour - self.first_hour, random.uniform("shown ad", index)),
            publisher=choose(self._publisher_sums, random.uniform("shown publisher", index)),
            device=choose(np.cumsum(_DEVICE_SHARES), random.uniform("shown device", index)),
            hour=hour % 24,
            logged_in=random.happens("logged in", index, _LOGGED_IN_SHARE).astype(np.int64),
            position=random.below("position", index, max(1, s.positions)),
        )

    def _times(self, index: I64) -> I64:
        """When, in ms: impression i falls into the i-th of equal parts of the traffic."""
        share = (index + self.random.uniform("time", index)) / self.settings.impressions
        passed = share * self._passed[-1]
        part = np.searchsorted(self._passed, passed, side="right") - 1
        part = np.minimum(part, len(self._marks) - 2)
        begin, end = self._marks[part], self._marks[part + 1]
        slope = (end - begin) / (self._passed[part + 1] - self._passed[part])
        time = begin + ((passed - self._passed[part]) * slope).astype(np.int64)
        inside: I64 = np.minimum(time, end - 1)
        return inside

    def _ads_at(self, hour: I64, u: F64) -> I64:
        """An ad alive through each hour (from start, ascending)."""
        ads = np.empty(len(hour), dtype=np.int64)
        edges = np.flatnonzero(np.diff(hour, prepend=-1, append=-1))
        for low, high in pairwise(edges):
            alive = np.flatnonzero(self.alive(int(hour[low])))
            ads[low:high] = alive[choose(np.cumsum(self._ad_weights[alive]), u[low:high])]
        return ads

    def alive(self, hour: int) -> Bool:
        """Which ads live through the hour-th hour from start."""
        return (self.birth <= hour) & (hour < self.death)

    def columns(self) -> tuple[Column, ...]:
        """The feature fields of an impression."""
        s = self.settings
        countries = names("c", COUNTRIES).take(pa.array(self.country))
        unknown = pa.array(self.country == _UNKNOWN_COUNTRY)
        categories = names("cat", CATEGORIES)
        profiles = pa.array(
            [[categories[i].as_py() for i in profile] for profile in self.interests],
            pa.list_(pa.string()),
        )
        return (
            Column("user_id", "string", "user", names("u", s.users)),
            Column("country", "string", "user", pc.if_else(unknown, None, countries)),
            Column("interests", "list", "user", profiles.take(pa.array(self.profile))),
            Column("ad_id", "string", "ad", names("ad", s.ads)),
            Column(
                "advertiser_id",
                "string",
                "ad",
                names("adv", s.advertisers).take(pa.array(self.advertiser)),
            ),
            Column("category", "string", "ad", categories.take(pa.array(self.category))),
            Column("price", "float", "ad", pa.array(self.price)),
            Column("publisher_id", "string", "publisher", names("p", s.publishers)),
            Column("device", "string", "device", pa.array(DEVICES)),
            Column("hour", "int", "hour", pa.array(np.arange(24))),
            Column("logged_in", "bool", "logged_in", pa.array([False, True])),
        )

    def event_schema(self) -> EventSchema:
        """The records of the logs."""
        fields = tuple(Field(column.name, column.type) for column in self.columns())
        return EventSchema(fields, self.settings.click_types)


def names(prefix: str, count: int) -> pa.Array:
    """`prefix0`, `prefix1`, … as strings."""
    numbers = pa.array(np.arange(count, dtype=np.int32)).cast(pa.string())
    return pc.binary_join_element_wise(prefix, numbers, "")
