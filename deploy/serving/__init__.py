"""P(click) by a serving version.

    impressions ── Features ── weights of a version ── logits ── P(click)

- `scorer`: one version in memory, for batches of candidates
- `score_file`: a log of impressions scored into a file
"""
