"""FTRL-Proximal, compiled: one example after the other, on one thread or several.

- `arguments`: what the learner's kernels are given beside the examples: the model in memory, and
  its rates
- `batch`: A batch of labelled examples as the kernels read it, checked once before they do
- `count_codes`: learning rates from counts of clicks instead of squared gradients
- `count_slot_codec`: A slot with counts: z as `ftrl.kernels.slot_codec` has it, and two codes in
  place of n
- `learn`: FTRL-Proximal, one example after the other
- `slot_codec`: what a slot stores, turned into z and n in float64 and back
- `stages`: learning in three steps that different threads can take, each ahead of the next
- `threads`: several threads that learn a batch together, and come to what one would have come to
- `workspace`: space for the rows that are worked on: their coordinates, and what is worked out of
  them
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
