"""Long-running workers on Kafka: `clickloop worker join` and `clickloop worker learn`.

Both are built alike: `command` turns settings into a running worker, `worker` is its side of every
assignment of partitions, and one module does the work of what it was given.

    settings ── command ── worker ──┬─ join: a partition_driver for each partition
                   │                └─ learn: one online_trainer for all partitions
                   └─ service ── health, metrics, watchdog

- `service`: what both have in common: the connection to Kafka, and those who watch
- `health`: /healthz, /readyz and /metrics over HTTP
- `watchdog`: ends a worker that is stuck
- `join`: the join worker
- `learn`: the learn worker
"""
