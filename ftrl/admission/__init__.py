"""Which features enter the table: counting Bloom filters, Poisson inclusion, sketches.

- `admission`: which features enter the table: those seen often enough, by rolling counting Bloom
  filters
- `bloom`: blocked counting Bloom filters: how often a key was sighted, never too few
- `generations`: how the admission filters forget: generations that roll, by a sweep over their
  lines
- `hyperloglog`: how many distinct features have been seen, in 16 KiB: a HyperLogLog over their
  hashes
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
