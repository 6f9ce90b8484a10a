"""The learner's table: from keys to slots with z and n.

- `layout`: where a key's slot is, in three layouts
- `growing`: `Table`: the slots in memory, and their incremental resize
- `touched`: which slots were stored to since the last save
- `rng`: uniform random draws that are hashes
- `fixedpoint`: weights and sums in 16 bits, rounded at random
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
