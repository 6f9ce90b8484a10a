"""Kafka: records in chunks, offsets that are committed when we say so, sends that fail loudly.

    broker ── fetch (a thread) ── transport ── chunks ── agent ── … ── commit_through ── broker

Faust spends about 200 µs on a message. So here a Faust message is a chunk of many records, and
everything that must be exact about offsets is done by the modules below, not by Faust:

- `chunk`: `Partition`, `Record`, `Chunk` (a run of records, and the offsets it stands for)
- `continuity`: `Continuity`, every offset once: gaps are errors, repetitions are cut off
- `commits`: `Commits`, what may be committed, by whom
- `owner`: `Owner`, what a worker is asked and told when its partitions change
- `alone`: `OneOwner`, all partitions to one member of the group
- `fetch`, `transport`: the Faust driver, registered as the transport `clickloop://`
- `app`: `create_app` with settings that are safe for it, `chunks` for agents, `run`
"""
