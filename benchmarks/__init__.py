"""Measurements against other systems, and of what needs a checkout: `python -m benchmarks.<name>`.

They are commands, not tests, and are not installed.

- `kafka`: the whole pipeline on a real broker: rates, latency, restarts
- `capped`: what a small table costs on a stream of millions of ids
- `damaged_logs`: what the care for damaged logs buys, in time and in rows
- `figures`: what a measurement prints: a table for people, or one JSON document
- `paired`: how fast this learner, or this joiner, is beside another version's
- `paired_bench`: `clickloop bench` of two versions in turn, and the ratio of their times
- `pauses`: how long learning pauses for its own upkeep
- `same_bytes`: whether another version of clickloop comes to the same bytes
- `save_pause`: how long training waits for a checkpoint
"""
