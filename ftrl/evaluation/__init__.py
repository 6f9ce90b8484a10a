"""Progressive validation: weighted histograms of the logit and the metrics they give."""
