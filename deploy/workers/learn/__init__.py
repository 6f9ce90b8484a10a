"""The learn worker.

- `metrics`: what the learner tells Prometheus. All of it is counted by examples or messages, not
  chunks
- `online_trainer`: the learner of labelled topics: a model, its store, and how far each partition
  was learned from
- `worker`: `clickloop worker learn`: the labelled topic in, weights and serving versions out
"""
