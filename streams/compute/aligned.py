"""Arrays that start at a cache line, so that records of a power of two bytes never straddle two."""

from typing import Any

import numpy as np
import numpy.typing as npt

from streams.compute.intrinsics import CACHE_LINE


def aligned(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`count` zeroed items of `dtype` that start at a cache line."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size].view(dtype)
