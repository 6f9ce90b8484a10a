from .batch import IN_LINE as IN_LINE
from .workspace import BLOCK as BLOCK
