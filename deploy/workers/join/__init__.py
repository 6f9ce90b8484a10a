"""The join worker: impressions and clicks in, labelled blocks out.

- `command`: `clickloop worker join`: from settings to a running worker
- `worker`: the partitions that Faust gives it, and the driver of each
- `partition_driver`: drives one partition's state machine, and carries out its effects
- `kafka_port`: Kafka as a driver sees it
- `metrics`: the worker's metrics for Prometheus
"""
