"""One partition's joiner as a state machine: claims, cuts, recovery; no clock, no Kafka.

- `cut`: the cut that is being made, and from which earlier cut a restart would begin
- `effects`: what a partition's joiner asks its driver to do, in this order
- `partition`: one partition's joiner as a state machine: messages in, effects out. No clock, no
  I/O
- `recovery`: how a new owner of a partition finds what the joiner before it had come to, and goes
  on as it
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
