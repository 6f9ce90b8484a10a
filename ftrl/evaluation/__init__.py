"""Progressive validation: weighted histograms of the logit and the metrics that follow from them.

    logits, labels ─▶ histogram ─▶ metrics, overall, by prediction and over event time

- `histogram`: sums over examples by bin of the logit and by bucket of event time
- `metrics`: each metric from such sums
- `evaluation`: `Evaluation`, to which examples are added, and which gives all metrics
- `corrected`: `Corrected`, in which a correction moves its example from negative to positive
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
