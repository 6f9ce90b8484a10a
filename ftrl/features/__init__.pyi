from .compatibility import change as change
from .config import FeatureConfig as FeatureConfig
from .coordinates import Coordinates as Coordinates
from .coordinates import Features as Features
from .renamed_fields import RenamedFields as RenamedFields
