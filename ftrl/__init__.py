"""The learner: from labelled examples to a model, and to how good it is.

    labelled batch ─▶ features ─▶ coordinates ─▶ Learner ─▶ logits ─▶ evaluation
                                                    └─▶ weights ─▶ serving

In the order in which they may import each other:

- `settings`: the settings of the learner and of admission
- `cut`: how far a learner has come
- `logistic`: from logits to probabilities
- `table`: from keys to slots with z and n, in memory that grows
- `admission`: which features enter the table
- `kernels`: FTRL-Proximal, compiled: one example after the other, on one thread or several
- `eviction`: which features leave the table again
- `features`: from a batch's fields to coordinates
- `evaluation`: progressive validation
- `state`: what is saved of a learner, and whether it can go on from that
- `stats`: the statistics of a learner
- `learner`: `Learner`, which all of the above is for
- `training`: features, learner and evaluation together
- `serving`: from published weights to logits
- `labelled_reader`: which messages of the labelled topic are to be learned from
- `agent`: the Faust agent, which reads the labelled topic in chunks

Nothing here touches a file or a clock, or imports the joiner; only `agent` knows Kafka.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
