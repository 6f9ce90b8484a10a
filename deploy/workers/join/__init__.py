"""The join worker.

- `command`: `clickloop worker join`: impressions and clicks in, labelled blocks out, until told
  to stop
- `kafka_link`: what the driver of a partition needs of Kafka, through the worker's Faust app
- `metrics`: what the join worker tells Prometheus: looked up when it is asked for, by partition
- `partition_driver`: drives one partition's state machine: messages come in, effects are carried
  out
- `worker`: the join worker: the partitions that Faust gives it, and the driver of each
"""
