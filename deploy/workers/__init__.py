"""Long-running workers on Kafka.

- `join`: the join worker
- `learn`: the learn worker
- `health`: what a worker says of itself over HTTP, to whoever watches it. It tells nothing of the
  data
- `watchdog`: ends a worker that is stuck: there is something to do, and for long nothing was done
"""
