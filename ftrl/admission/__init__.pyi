from . import admission as admission
from .bloom import LINE_WORDS as LINE_WORDS
from .bloom import line_of as line_of
from .generations import Rules as Rules
