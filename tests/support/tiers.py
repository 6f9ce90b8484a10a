"""How much Hypothesis tries: all of it in `make test-all`, part of it where that would be slow."""

from hypothesis import settings
from numba import config

QUICK = "quick"  # the Hypothesis profile of `make test`


def tries(most: int) -> int:
    """How many examples Hypothesis tries, given how many it tries at the most.

    `make test` tries a quarter of them. Without the compiler it is a third, for plain Python is to
    reach each branch of a kernel, not each case; it takes up to a hundred times as long.
    """
    if config.DISABLE_JIT:
        return min(most, max(most // 3, 8))
    if settings.get_current_profile_name() == QUICK:
        return min(most, max(most // 4, 8))
    return most
