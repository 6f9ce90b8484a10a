"""Traffic with a known truth, and predictions beside that truth."""
