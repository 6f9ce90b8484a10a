"""The learner: from labelled examples to a model, and to how good it is.

    labelled batch ─▶ Features ─▶ Coordinates ─▶ Learner ─▶ logits ─▶ Evaluation
                                                    └─▶ weights ─▶ ServingTable

Pure but for `agent`: no file, no clock, nothing imported from the joiner.

- `admission`: which features enter the table: counting Bloom filters, Poisson inclusion, sketches
- `evaluation`: progressive validation: weighted histograms of the logit and the metrics they give
- `eviction`: which features leave the table again: stale ones, and the least valuable when it is
  full
- `features`: A batch's fields become coordinates: 64-bit hashes and values
- `kernels`: FTRL-Proximal, compiled: one example after the other, on one thread or several
- `serving`: weights as a scorer holds them: from keys to logits
- `table`: the learner's table: layouts, growth in small steps, 16-bit fixed point
- `agent`: the learner's Faust agent: it reads the labelled topic in chunks
- `labelled_reader`: which messages of the labelled topic are to be learned from, each exactly
  once
- `learner`: the learner: batches of labelled examples in, progressive predictions out
- `logistic`: from logits to probabilities
- `settings`: what can be set about the learner and about which features it lets in
- `state`: what a learner's saved state holds, and whether settings can go on with it
- `stats`: what a learner has come to, in numbers
- `training`: training: labelled examples in; the model, and everything measured of it, out
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
