"""Weights as a scorer holds them: from keys to logits.

- `table`: `ServingTable`: whole keys, 10 bytes a weight; `serving_weights`, which rounds them
- `bucketed`: `BucketedServingTable`: keys by bucket and tag, 6 bytes a weight
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
