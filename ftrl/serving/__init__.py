"""Weights as a scorer holds them: from keys to logits.

- `grouped`: the weights of a model of layout q2.13 as they are served: 6 bytes each
- `table`: what a scorer needs of a model: the non-zero weights in 16 bits, and the bias
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
