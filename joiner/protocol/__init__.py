"""One partition's joiner as a state machine: messages in, effects out; no clock, no Kafka.

    rows read, acknowledgements ── JoinPartition ── effects ── a driver carries them out
                                        │
            claim, search, history ── recovery (input_logs, recovery) ── live (cut, block_writer)

- `partition`: the state machine, from the claim of a partition on
- `phases`: its phases: what each holds, and what each event does in it
- `effects`: what it asks its driver to do
- `config`: the configuration that the joiners of a worker share
- `input_logs`: both input logs as they are read: known rows left out, the others merged
- `recovery`: the published cuts, found and gone through again
- `cut`: the cut that is being built, and the cut from which a restart would begin
- `block_writer`: the blocks that a writer publishes, until it knows that they count
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
