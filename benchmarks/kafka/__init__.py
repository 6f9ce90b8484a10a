"""The whole pipeline on a real broker: `python -m benchmarks.kafka.<name>`.

- `labelled`: what join workers left in the labelled topic, and when: how far they had come
- `latency`: from the end of an example's window to its update
- `learner`: `clickloop worker learn` that writes down when it learned from what
- `live`: the traffic as it would come live: a steady rate, each event with its own time
- `naive`: the pipeline as it is written first: a plain Faust agent a topic, a dict, row after row
- `pipeline`: the rate of the whole pipeline, and of the naive one
- `plant`: what these measurements share: a broker, topics that are filled, the two workers
- `restart`: how long a join worker takes to be back
- `traffic`: the hotel-search logs, repeated with other ids and later times, of any length
- `two_workers`: what a second join worker adds
"""
