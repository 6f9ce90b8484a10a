"""Producers of impressions and clicks: events checked, encoded, sent and acknowledged.

- `encoder`: rows as producers send them: in the columns of an Arrow message, or a JSON object
  each
- `event`: one event of a producer, checked as it will be when it is read
- `in_flight`: messages on their way: how many may be, and which did not arrive
- `producer`: producers of impressions and clicks, for services and for `clickloop produce`
- `record_batch`: many records in the bytes of Kafka's record format, version 2, without an object
  for each
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
