"""Weights as a scorer holds them: from keys to logits."""
