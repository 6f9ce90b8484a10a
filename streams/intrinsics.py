"""What kernels ask of the processor beyond arithmetic. Without the compiler it does nothing."""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

_FOR_READING, _INTO_ALL_CACHES, _OF_DATA = 0, 3, 1


def prefetch(array: npt.NDArray[Any], index: int | np.int64) -> None:
    """Start to load the cache line where `array[index]` begins; nothing but time can tell.

    The index must lie in the array.
    """


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def _prefetch(_: Any, array: Any, index: Any) -> Any:
    """Numba's side of `prefetch`: types in, and what generates the instruction."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        place = cgutils.get_item_pointer(
            context, builder, kind, context.make_array(kind)(context, builder, args[0]), [args[1]]
        )
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        called = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], called)
        hints = [word(hint) for hint in (_FOR_READING, _INTO_ALL_CACHES, _OF_DATA)]
        builder.call(function, [builder.bitcast(place, byte), *hints])
        return context.get_dummy_value()

    return types.void(array, index), generate


@overload(prefetch, inline="always")  # type: ignore[untyped-decorator]  # numba ships no types
def _compiled_prefetch(array: Any, index: Any) -> Any:  # noqa: ARG001 - numba goes by the names
    def compiled(array: Any, index: Any) -> Any:
        _prefetch(array, index)

    return compiled
