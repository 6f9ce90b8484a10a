"""Measurements against other systems, and of what needs a checkout: `python -m benchmarks.<name>`.

They are commands, not tests, and are not installed.

- `capped`: what a small table costs on a stream of millions of ids: `python -m benchmarks.capped`
- `figures`: what a measurement prints: a table for people, or one JSON document
- `labelled`: what join workers left in the labelled topic, and when: how far they had come at any
  moment
- `latency`: from the end of an example's window to its update: `python -m benchmarks.latency`
- `learner`: `clickloop worker learn` that writes down when it learned from what
- `live`: the traffic as it would come live: impressions at a steady rate, each event with its own
  time
- `naive`: the pipeline as it is written first: a plain Faust agent a topic, a dict, one row after
  another
- `paired`: how much faster this learner is than another version's: `python -m benchmarks.paired
  DIR`
- `pauses`: how long learning pauses for its own upkeep: `python -m benchmarks.pauses`
- `pipeline`: the whole pipeline on Kafka, and the naive one: `python -m benchmarks.pipeline`
- `plant`: what the measurements on Kafka share: a broker, topics that are filled, the two workers
- `restart`: how long a join worker takes to be back: `python -m benchmarks.restart`
- `same_bytes`: whether another version of clickloop comes to the same bytes
- `save_pause`: how long training waits for a checkpoint: `python -m benchmarks.save_pause`
- `traffic`: the hotel-search logs, repeated with other ids and later times: traffic of any length
- `two_workers`: what a second join worker adds: `python -m benchmarks.two_workers`
"""
