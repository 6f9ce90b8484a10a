"""The main job on public logs, and on simulated ones."""
