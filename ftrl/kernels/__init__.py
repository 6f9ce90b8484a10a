"""FTRL-Proximal, compiled: one example after the other, on one thread or several.

    Batch, Examples ─▶ look up ─▶ admit ─▶ predict ─▶ update ─▶ logits, Model

- `batch`: a batch of examples as kernels read it, checked
- `workspace`: space for the rows that are worked on
- `count_codes`: learning rates from counts of clicks, and the codes of these counts
- `arguments`: the model in memory as kernels take it, and its rates
- `slot_codec`: z and n of a slot, decoded and encoded
- `count_slot_codec`: the same where n is two counts
- `learn`: one thread: rows are predicted, then learned
- `stages`: the same in three stages that threads can share
- `threads`: `WorkerPool`: several threads that learn a batch together
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
