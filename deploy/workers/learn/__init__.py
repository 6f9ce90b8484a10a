"""The learn worker: labelled blocks in, weights and serving versions out.

- `command`: `clickloop worker learn`: from settings to a running worker
- `worker`: the partitions that Faust gives it, and the trainer it runs with all of them
- `online_trainer`: a model, its store, and how far each partition was learned from
- `metrics`: the worker's metrics for Prometheus
"""
