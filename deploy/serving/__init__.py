"""P(click) by a serving version.

- `scorer`: score candidates with a serving version: everything it needs is in the version
"""
