"""The learner's table: layouts, growth in small steps, 16-bit fixed point.

- `fixedpoint`: state in 16 bits: fixed point for weights, a short float for sums; both rounded at
  random
- `growing`: the slots in memory, and how they become more: in place, a few at a time, the highest
  keys first
- `layout`: the learner's table: from keys to (z, n), open addressing, a slot in one cache line
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
