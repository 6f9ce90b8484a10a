"""Log files, found, opened and read in order, without rows whose clock runs ahead.

- `clock_guard`: the guard against clocks that run ahead
- `logs`: log files: finding them, and reading them as one stream of accepted rows and dead
  letters
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
