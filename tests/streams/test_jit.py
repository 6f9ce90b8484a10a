"""What compiling costs is known."""

import numba
import pytest
from numba import config

from streams.compute.jit import compiling_s


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="there is no compiler without JIT")
def test_compiling_is_timed_and_running_is_not() -> None:
    twice = numba.njit(lambda x: 2 * x)  # not kept on disk, so it is compiled in every run
    before = compiling_s()
    assert twice(21) == 42
    compiled = compiling_s()
    assert compiled > before
    assert twice(4) == 8
    assert compiling_s() == compiled
