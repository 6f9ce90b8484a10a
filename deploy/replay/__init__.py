"""The loop over log files.

- `checkpoint`: the checkpoint of a replay: training's, and what the joiner must remember beside
  it
- `examples_writer`: the labelled examples a replay writes
- `inputs`: the two logs of a run: read from the start, or from where a run was saved
- `pipeline`: the in-process loop: merged events in; examples learned from, and everything
  counted, out
- `replay`: the main job on files: two logs in; examples, serving versions, metrics and a report
  out
- `run_metrics`: the document a run leaves: `metrics.json`
"""
