"""The planted truth: the probability that an impression is ever clicked.

logit p = intercept + main effects + effects of users, ads and publishers (the last two drift)
+ effects of pairs. Every term belongs to a coordinate that a model with the fields and crosses
of `CROSSES` has. So the model can represent the truth, except for the drift.
"""

import numpy as np

from streams.compute.arrays import F64, I64
from streams.simulator.reproducible import log, sigmoid
from streams.simulator.settings import HOUR
from streams.simulator.world import CATEGORIES, COUNTRIES, DAILY, DEVICES, PROFILES, Shown, World

CROSSES = (
    "publisher_id^category",
    "device^category",
    "category^interests",
    "country^advertiser_id",
)
_DAY = 24 * HOUR
_MOST_DAYS = 2**20
_PILOT = 2**15


class Truth:
    """True probabilities in a world."""

    def __init__(self, world: World) -> None:
        self._settings = world.settings
        self._world = world
        self._random = world.random
        self._effects()
        self._crosses()
        self._intercept = 0.0
        self._intercept = self._solve_intercept()

    def _bell(self, name: str, count: int, scale: float) -> F64:
        return scale * self._random.bell(f"effect of {name}", np.arange(count))

    def _effects(self) -> None:
        """Effects of single values, summed for each user, ad, publisher."""
        s, world = self._settings, self._world
        main, entity = s.main_effects, s.entity_effects
        self._interest = self._per_profile(self._bell("interest", CATEGORIES, main))
        self._user = (
            self._bell("user", s.users, entity)
            + self._bell("country", COUNTRIES, main)[world.country]
            + self._interest[world.profile]
        )
        # Prices have two buckets an octave: the leading bits of the float. The dearer, the
        # rarer the click, in a line over the buckets; bucket 0 begins at 2⁵, mid-range.
        bucket = (world.price.view(np.int64) >> 51) - 2 * (1023 + 5)
        self._ad = (
            self._bell("ad", s.ads, entity)
            + self._bell("advertiser", s.advertisers, main)[world.advertiser]
            + self._bell("category", CATEGORIES, main)[world.category]
            - main * (bucket / 6.0)
        )
        self._publisher = self._bell("publisher", s.publishers, entity)
        self._device = self._bell("device", len(DEVICES), main)
        self._hour = s.ctr_swing * DAILY
        self._logged_in = self._bell("logged in", 2, main)
        self._position = -s.position_bias * log(np.arange(1.0, max(1, s.positions) + 1))

    def _crosses(self) -> None:
        """Effects of pairs: [first, second] tables."""
        s, scale = self._settings, self._settings.cross_effects
        shape = (s.publishers, CATEGORIES)
        self._publisher_category = self._bell("publisher category", shape[0] * shape[1], scale)
        self._publisher_category = self._publisher_category.reshape(shape)
        self._device_category = self._bell("device category", len(DEVICES) * CATEGORIES, scale)
        self._device_category = self._device_category.reshape(len(DEVICES), CATEGORIES)
        affinity = self._bell("interest category", CATEGORIES * CATEGORIES, scale)
        self._profile_category = self._per_profile(affinity.reshape(CATEGORIES, CATEGORIES))
        shape = (COUNTRIES, s.advertisers)
        self._country_advertiser = self._bell("country advertiser", shape[0] * shape[1], scale)
        self._country_advertiser = self._country_advertiser.reshape(shape)

    def _per_profile(self, effects: F64) -> F64:
        """For each profile, its interests' rows of `effects` added up in order."""
        total = np.zeros((PROFILES, *effects.shape[1:]))
        for profile, interests in enumerate(self._world.interests):
            for interest in interests:
                total[profile] += effects[interest]
        return total

    def probability(self, shown: Shown) -> F64:
        """P(click ever) of each impression."""
        return sigmoid(self._logit(shown))

    def _logit(self, shown: Shown) -> F64:
        world, user, ad, publisher = self._world, shown.user, shown.ad, shown.publisher
        category = world.category[ad]
        return (
            self._intercept
            + self._user[user]
            + self._ad[ad]
            + self._publisher[publisher]
            + self._device[shown.device]
            + self._hour[shown.hour]
            + self._logged_in[shown.logged_in]
            + self._position[shown.position]
            + self._publisher_category[publisher, category]
            + self._device_category[shown.device, category]
            + self._profile_category[world.profile[user], category]
            + self._country_advertiser[world.country[user], world.advertiser[ad]]
            + self._drift("ad", ad, shown.time)
            + self._drift("publisher", publisher, shown.time)
        )

    def _drift(self, name: str, code: I64, time: I64) -> F64:
        """What an effect has moved by: random at each midnight, a straight line in between."""
        day = time // _DAY
        part = (time % _DAY) / float(_DAY)
        counter = code * _MOST_DAYS + day
        before = self._random.bell(f"drift of {name}", counter)
        after = self._random.bell(f"drift of {name}", counter + 1)
        return self._settings.drift * (before + (after - before) * part)

    def _solve_intercept(self) -> float:
        """The intercept that gives the wanted mean probability, on a sample of impressions."""
        count = self._settings.impressions
        sample = min(_PILOT, count)
        logits = self._logit(self._world.shown(np.arange(sample) * count // sample))
        low, high = -20.0, 20.0
        for _ in range(50):
            middle = (low + high) / 2
            mean = np.cumsum(sigmoid(logits + middle))[-1] / sample
            low, high = (middle, high) if mean < self._settings.ctr else (low, middle)
        return (low + high) / 2
