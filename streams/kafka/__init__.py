"""Messages of Kafka in chunks, offsets committed when the worker says so, events produced.

    broker ── fetch (a thread) ── transport ── chunks ── agent ── … ── commit_through ── broker

Faust spends about 200 µs on a message. So here a Faust message is a chunk of many of Kafka's, and
the modules below, not Faust, do everything that must be exact about offsets:

- `consume`: the Faust transport, offsets to commit, gaps, and the assignment of partitions
- `produce`: producers of impressions and clicks: events checked, encoded, sent and acknowledged
- `arrow_message`: messages that are Arrow streams, read as what anyone may have sent
- `chunk`: consecutive messages of one partition, handed over together
- `client_errors`: errors of Kafka's client with the reason of the refusal
- `codec`: decoding messages into rows: JSON events, batches in Arrow, or both mixed
- `security`: credentials of clients, and checks of the brokers' certificates
- `settings`: the settings `[kafka]` and `[topics]`
- `topics`: the configuration that each topic must have, making topics, and what is wrong
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
