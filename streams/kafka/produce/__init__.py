"""Producers of impressions and clicks: events checked, encoded, sent and acknowledged.

    event ── event (checks) ──────────┐
    batch ── encoder ── record_batch ─┴─ in_flight ── broker

- `encoder`: encoding rows: as the columns of an Arrow message, or as a JSON object each
- `event`: one event of a producer, checked as its readers will check it
- `in_flight`: messages in flight: how many bytes may be, and which did not arrive
- `producer`: producers of impressions and clicks, for services and for `clickloop produce`
- `record_batch`: many records in the bytes of Kafka's record format, version 2, without an object
  for each
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
