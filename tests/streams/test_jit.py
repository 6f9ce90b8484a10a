"""What compiling costs is known; a change of any kernel leaves the old machine code behind."""

from pathlib import Path

import numba
import pytest
from numba import config

from streams.compute.jit import KERNEL_ROOMS, cache_folder, compiling_s


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="there is no compiler without JIT")
def test_compiling_is_timed_and_running_is_not() -> None:
    twice = numba.njit(lambda x: 2 * x)  # not kept on disk, so it is compiled in every run
    before = compiling_s()
    assert twice(21) == 42
    compiled = compiling_s()
    assert compiled > before
    assert twice(4) == 8
    assert compiling_s() == compiled


@pytest.mark.parametrize("room", KERNEL_ROOMS)
def test_a_changed_kernel_in_a_sub_package_has_a_cache_of_its_own(
    tmp_path: Path, room: str
) -> None:
    file = tmp_path / room / "kernels" / "deep" / "learn.py"
    file.parent.mkdir(parents=True)
    file.write_text("x = 1\n")
    before = cache_folder(tmp_path)
    assert cache_folder(tmp_path) == before
    file.write_text("x = 2\n")
    changed = cache_folder(tmp_path)
    assert changed != before
    file.rename(file.with_name("predict.py"))
    assert cache_folder(tmp_path) not in (before, changed)
