"""One partition's joiner as a state machine: messages in, effects out; no clock, no Kafka.

    rows read, acknowledgements ── JoinPartition ── effects ── a driver carries them out

- `partition`: the state machine, from the claim of a partition on
- `effects`: what it asks its driver to do
- `cut`: the cut that is being made, and the cut from which a restart would begin
- `recovery`: how a new owner finds the cuts of the joiner before it, and takes their rows again
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
