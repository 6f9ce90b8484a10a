"""P(click) by a serving version."""
