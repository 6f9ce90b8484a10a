"""Records of Kafka in chunks: the Faust transport, offsets, and who owns which partition.

- `app`: the Faust app of a worker, with settings that are safe for the transport
- `assignment`: what a worker is asked and told when partitions come and go
- `consumer_thread`: the thread that talks to Kafka: it hands over all records it has of a
  partition at once
- `exclusive_assignor`: all partitions to one member of the group; the others stand by
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
