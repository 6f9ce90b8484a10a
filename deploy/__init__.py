"""Assembly and delivery: the pure rooms become programs.

    logs ─── replay ─────────── joiner, training ──┬─ examples, metrics.json ── report
    Kafka ── workers.join ───── joiner             └─ storage (checkpoints, versions) ── serving
    Kafka ── workers.learn ──── training ──────────────┘

- `bench`: `clickloop bench`: how fast this machine is, and others' tools beside it
- `cli`: the command line
- `demo`: the main job on public logs, and on simulated ones
- `replay`: the loop over log files
- `report`: A run as one self-contained page
- `serving`: P(click) by a serving version
- `simulation`: traffic with a known truth, and predictions beside that truth
- `storage`: what is kept in RocksDB: training checkpoints and serving versions
- `workers`: long-running workers on Kafka
- `__main__`: `python -m deploy`: the command line, where the console script is not on the path
- `compatibility`: what may change between two runs that share a store or a topic, in one place
- `console`: what a person sees in the terminal: progress on stderr, summaries on stdout
- `settings`: one TOML file, typed and validated at start, every problem listed at once
"""
