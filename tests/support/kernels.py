"""Tests of kernels run twice: compiled, and as plain Python to walk through every branch."""

from numba import config


def examples(compiled: int) -> int:
    """How many examples Hypothesis tries, given how many where the kernels are compiled.

    Plain Python is to reach each branch, not each case; it takes up to a hundred times as long.
    """
    return min(compiled, max(compiled // 3, 8)) if config.DISABLE_JIT else compiled
