"""`clickloop demo`: the main job on public logs, and on simulated ones.

- `demo`: both runs, one after the other, and their summaries
- `open_bandit`: the Open Bandit logs as impressions and clicks
"""
