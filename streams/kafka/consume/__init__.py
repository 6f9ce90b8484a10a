"""Consuming: messages in chunks, offsets to commit, gaps, and the assignment of partitions.

    broker ── consumer_thread ── transport ── gap_detector ── app.chunks ── worker
    worker ── commit_through ── offsets ── transport ── broker

- `app`: the Faust app of a worker, with settings that are safe for the transport
- `assignment`: the calls to a worker when partitions come and go
- `consumer_thread`: the thread that talks to Kafka
- `exclusive_assignor`: all partitions to one member of the group; the other members stand by
- `gap_detector`: every offset of a partition once and in order
- `labelled`: messages of the labelled topic, as a consumer hands them out
- `labelled_topic`: the labelled topic for services of one's own: the examples that count, each
  exactly once
- `offsets`: which offsets may be committed
- `range_reader`: reading a known range of a partition, beside the worker's own consumer
- `transport`: the Faust driver `clickloop://`: aiokafka's, with chunks for messages and commits
  of our own
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
