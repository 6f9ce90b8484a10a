"""`clickloop bench`: how fast this machine is, beside other systems where they are installed.

Each benchmark prints one document: its circumstances, and figures with their targets.

- `figures`: that document, and the one core that rates are measured on
- `join`: the joiner alone, in memory and from NDJSON files
- `join_workload`: its seeded traffic
- `ndjson_join`: the join of two NDJSON files, as a process of its own
- `flink_join`: the same join in Flink SQL, run by a Python that has apache-flink
- `learn`: the learner alone, on a seeded workload and on real logs
- `learn_workload`: that workload: labelled examples, hashed already
- `hashed_logs`: the labelled examples of real logs, joined and hashed
- `roofline`: the memory traffic of learning without its arithmetic
- `comparison`: our learner compared with the baselines
- `baselines`: Vowpal Wabbit and River on the same examples
- `replay`: the whole loop on real logs, repeated many times
- `ingest`: records from Kafka through the transport, and through plain Faust
- `ingest_worker`: one worker of that benchmark, which only counts
"""
