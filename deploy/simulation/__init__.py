"""Traffic with a known truth, and how far predictions are from it.

    simulate ── logs ── replay ── examples ──┐
        └────── truth.parquet ── truth_reader ── truth_comparison ── metrics.json, report

- `simulate`: `clickloop simulate`: logs written by settings from the command line
- `truth_reader`: the truth of each impression, looked up by id
- `truth_comparison`: a run's predictions compared with the truth
"""
