"""The joiner: each impression matched with its click inside a window of event time, and labelled.

    impressions ─┐                       ┌─ labelled examples, in impression order
                 ├─ Joiner.process(step) ┼─ late clicks
    clicks ──────┘                       └─ rejected rows

Event time only: no clock is read, nothing is written, nothing is imported from the learner.

- `settings`: the sections `[join]` and `[sampling]` of the settings
- `core`: the join: events in, labelled examples out
- `protocol`: one partition's joiner on Kafka as a state machine: claims, cuts, recovery
- `agent`: the Faust agents that read the two input topics in chunks
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
