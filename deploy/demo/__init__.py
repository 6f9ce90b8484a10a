"""The main job on public logs, and on simulated ones.

- `demo`: the main job twice, without a broker: on the Open Bandit logs, and where the truth is
  known
- `open_bandit`: the Open Bandit logs as the two logs of a click pipeline
"""
