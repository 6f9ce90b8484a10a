"""`clickloop bench`: how fast this machine is, and others' tools beside it.

- `baselines`: other learners, on examples of ours, where they are installed (the dev extra)
- `comparison`: our learner beside others, each reading the same examples from its own fastest
  form on disk
- `flink_join`: flink SQL's left interval join over two NDJSON files, into nothing: the rival of
  `bench join`
- `hashed_logs`: the labelled examples of a pair of logs, joined and hashed: what benchmarks learn
  from
- `ingest`: `clickloop bench ingest`: records from Kafka through the transport, and through plain
  Faust
- `ingest_worker`: one worker that only counts: a plain Faust agent, or one that reads chunks
- `join`: `clickloop bench join`: the joiner alone, Arrow in and Arrow out, and from NDJSON beside
  Flink
- `join_workload`: the seeded traffic of `bench join`: two logs in the order of their rows, in
  memory or as NDJSON
- `learn`: `clickloop bench learn`: the learner alone, on a seeded workload, and beside other
  learners
- `learn_workload`: the seeded workload of `bench learn`: labelled examples of 30 fields, hashed
  already
- `ndjson_join`: the join of two NDJSON files, into nothing: what `bench join` compares with
  Flink's
- `replay`: `clickloop bench replay`: the whole loop on one core, on real logs repeated many times
- `roofline`: the memory traffic of learning without its arithmetic: how fast any learner could be
  here
"""
