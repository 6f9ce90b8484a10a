"""The loop over log files: two logs in; examples, serving versions, metrics and a report out.

    inputs ── pipeline ──┬─ examples_writer, dead letters, late clicks
       (join, learn)     ├─ checkpoint ── storage
                         └─ run_metrics ── report

- `replay`: a run from its first step to its report, resumed where it was stopped
- `inputs`: the two logs, read from the start or from where a run was saved
- `pipeline`: joiner and training of one run, without files
- `examples_writer`: the labelled examples, in Parquet files
- `checkpoint`: all that a run must remember: training's checkpoint and the joiner's
- `run_metrics`: `metrics.json`, the document a run leaves
"""
