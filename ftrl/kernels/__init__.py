"""FTRL-Proximal, compiled: one example after the other, on one thread or several."""
