"""The learner: from labelled examples to a model, and to how good it is.

    config, settings   what can be set           admission, sketch   which features enter
    hashing, numbers   values to 64-bit keys     table, scratch      keys to (z, n)
    features           a batch to coordinates    kernels, learner    FTRL-Proximal
    fixedpoint, stored state in 16 bits          serving, logistic   from weights to P(click)
    histogram, measures, evaluation              progressive validation
    learner_state      what is saved of it       stats               what it has come to
    intake             which blocks count        agent               Kafka's chunks to messages

    labelled batch ─▶ Features ─▶ Coordinates ─▶ Learner ─▶ logits ─▶ Evaluation
                                                    └─▶ weights ─▶ ServingTable

Pure but for `agent`: no file, no clock, nothing imported from the joiner.
"""
