"""Measurements against other systems, and of what needs a checkout: `python -m benchmarks.<name>`.

They are commands, not tests, and are not installed.
"""
