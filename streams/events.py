"""What happens in the merged stream of events: the codes of its order, and times beyond all times.

The joiner has further codes of its own, from `ORDER_CODES` on; kernels see all of them.
"""

IMPRESSION, CLICK, IMPRESSIONS_END, CLICKS_END = 0, 1, 2, 3
ORDER_CODES = 4
SOURCES = (IMPRESSION, CLICK)

# Before and after every time in ms; sums with windows and horizons stay inside int64.
NEVER, FOREVER = -(1 << 62), 1 << 62
