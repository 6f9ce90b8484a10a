from .batch import IN_LINE as IN_LINE
from .workspace import TILE as TILE
