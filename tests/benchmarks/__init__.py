"""Measurements that are commands, not tests: `python -m tests.benchmarks.<name>`."""
