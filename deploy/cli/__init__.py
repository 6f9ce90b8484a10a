"""The command line, `clickloop`. An error is one message on stderr and an exit code.

- `app`: the program, with the commands on files
- `kafka`: the commands on Kafka: topics and workers
- `bench`: the commands that measure
- `common`: options, errors and JSON that all commands share
- `produce`: `clickloop produce`: a log's rows, published to their topic
- `topics`: `clickloop topics`: Kafka's topics, made and checked
"""
