"""The joiner: each impression matched with its click inside a window of event time, and labelled.

    impressions ─┐                       ┌─ labelled examples, in impression order
                 ├─ Joiner.process(step) ┼─ late clicks
    clicks ──────┘                       └─ rejected rows

Event time only: no clock is read, nothing is written, nothing is imported from the learner.

- `core`: the join: events in, labelled examples out; no clock, no file, no Kafka
- `protocol`: one partition's joiner as a state machine: claims, cuts, recovery; no clock, no
  Kafka
- `agent`: the joiner's Faust agents: they read the two input topics in chunks
- `settings`: settings of the join and of negative subsampling: `[join]` and `[sampling]`
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
