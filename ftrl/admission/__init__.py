"""Which features enter the table: counting Bloom filters, Poisson inclusion, sketches.

    feature outside the table ─▶ filters ─▶ admitted, or one more sighting counted

- `bloom`: counting Bloom filters: how often a key was sighted
- `generations`: how the filters forget: generations that roll, by a sweep
- `admission`: `Admission`, the filters in memory, and `admit`, which decides
- `hyperloglog`: how many distinct features have been seen
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
