"""Progressive validation: weighted histograms of the logit and the metrics they give.

- `corrected`: the corrected metrics: each example under the label it has once its late click is
  known
- `evaluation`: progressive evaluation: how good the predictions were, each made before its label
  was seen
- `histogram`: weighted histograms of the logit: sums over examples from which every metric
  follows
- `metrics`: the metrics, each computed from the sums a histogram holds
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
