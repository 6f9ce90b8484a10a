"""The command line.

- `app`: the command line. Errors are one message on stderr and an exit code; --debug traces them
- `bench`: the commands that measure
- `common`: what the commands have in common: options, errors and JSON
- `kafka`: the commands for Kafka: its topics, and the workers that run on it
- `produce`: `clickloop produce`: the rows of log files, published to their topic
- `topics`: `clickloop topics`: those that Kafka must have are made, and checked
"""
