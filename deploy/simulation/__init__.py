"""Traffic with a known truth, and predictions beside that truth.

- `simulate`: `clickloop simulate`: settings from the command line, logs, and what is in them in
  words
- `truth_comparison`: predictions beside the truth, which only simulated traffic lets one know
- `truth_reader`: the truth that the simulator writes beside its logs, looked up by id
"""
