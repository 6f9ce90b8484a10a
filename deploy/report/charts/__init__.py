"""The charts of the report.

- `counts`: the report's figures of counts: what became of the rows, when clicks came, the model's
  size
- `quality`: the report's figures of quality: over time, and predicted against observed
- `style`: what the report's figures have in common: colours, layout, axes, error bars, numbers
- `truth`: the report's figures of predictions beside the truth, which is known for simulated
  traffic
"""
