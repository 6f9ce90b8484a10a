"""The arrays that kernels take: their types, named by their dtype, and how they are made alike."""

from typing import Any

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]
I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.signedinteger[Any]]


def read_only(array: npt.NDArray[Any], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """`array` as contiguous and read-only, so that the kernels are compiled for one type only.

    dtype: None: the array's own. Raises ValueError if `dtype` cannot represent its values.
    """
    view = np.ascontiguousarray(array, dtype).view()
    if view.dtype != array.dtype and not np.array_equal(view, array):
        raise ValueError(f"{dtype} does not hold all of {array.dtype} values")
    view.flags.writeable = False
    return view
