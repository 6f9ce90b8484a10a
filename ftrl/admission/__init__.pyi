from .admission import prefetch_lines as prefetch_lines
from .bloom import LINE_WORDS as LINE_WORDS
from .bloom import line_of as line_of
from .generations import Filters as Filters
