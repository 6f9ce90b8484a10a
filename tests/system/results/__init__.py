"""The paper's tables on logs at hand: `python -m tests.system.results` writes docs/results.md.

A log is joined once; its labelled examples, hashed, are then learned from in memory under one
setting after another, each example predicted before it is learned from.
"""
