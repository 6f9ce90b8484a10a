"""Kafka: records in chunks, offsets that are committed when we say so, sends that fail loudly.

    broker ── fetch (a thread) ── transport ── chunks ── agent ── … ── commit_through ── broker

Faust spends about 200 µs on a message. So here a Faust message is a chunk of many records, and
everything that must be exact about offsets is done by the modules below, not by Faust:

- `consume`: records of Kafka in chunks: the Faust transport, offsets, and who owns which
  partition
- `produce`: producers of impressions and clicks: events checked, encoded, sent and acknowledged
- `arrow_message`: messages that are Arrow streams, read without trusting them
- `chunk`: A run of records of one partition
- `client_errors`: why Kafka cannot be reached, in the words of whoever refused: kafka-python only
  logs them
- `codec`: from the messages of a partition to rows: single JSON events, batches in Arrow, or both
  mixed
- `security`: how clients prove who they are, and that the brokers are who they should be
- `settings`: settings of Kafka: `[kafka]`, how it is reached, and `[topics]`, what is in it
- `topics`: topics: what each must be like, making them, and everything that is wrong with them
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
