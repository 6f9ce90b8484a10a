"""The figures of the report, each drawn from a part of `metrics.json`.

- `style`: colours, layout, axes, error bars and number formats of all figures
- `counts`: what became of the rows, when clicks came, how many features there are
- `quality`: quality over event time, and predicted against observed CTR
- `truth`: predictions against the true probabilities of simulated traffic
"""
