"""What kernels ask of the processor beyond arithmetic. Without the compiler it is plain Python."""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

CACHE_LINE = 64
NOWHERE = 16  # what `ahead` gives is below, or this and more: a line has no more records

_FOR_READING, _FOR_WRITING = 0, 1
_INTO_ALL_CACHES, _OF_DATA = 3, 1


def prefetch(array: npt.NDArray[Any], index: int | np.int64) -> None:
    """Start to load the cache line where `array[index]` begins; nothing but time can tell.

    The index must lie in the array.
    """


def prefetch_to_write(array: npt.NDArray[Any], index: int | np.int64) -> None:
    """Do as `prefetch` does, and have no other core keep the line, for it will be written to."""


def _loader(purpose: int) -> Any:
    """An intrinsic that loads a line for a purpose."""

    @intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
    def load(_: Any, array: Any, index: Any) -> Any:
        """Numba's side of `prefetch`: types in, and what generates the instruction."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = signature.args[0]
            memory = context.make_array(kind)(context, builder, args[0])
            place = cgutils.get_item_pointer(context, builder, kind, memory, [args[1]])
            byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            called = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            function = builder.module.declare_intrinsic("llvm.prefetch", [byte], called)
            hints = [word(hint) for hint in (purpose, _INTO_ALL_CACHES, _OF_DATA)]
            builder.call(function, [builder.bitcast(place, byte), *hints])
            return context.get_dummy_value()

        return types.void(array, index), generate

    return load


_read, _write = _loader(_FOR_READING), _loader(_FOR_WRITING)


@overload(prefetch, inline="always")  # type: ignore[untyped-decorator]  # numba ships no types
def _compiled_prefetch(array: Any, index: Any) -> Any:  # noqa: ARG001 - numba goes by the names
    def compiled(array: Any, index: Any) -> Any:
        _read(array, index)

    return compiled


@overload(prefetch_to_write, inline="always")  # type: ignore[untyped-decorator]  # no types
def _compiled_to_write(array: Any, index: Any) -> Any:  # noqa: ARG001 - as above
    def compiled(array: Any, index: Any) -> Any:
        _write(array, index)

    return compiled


def a_line(records: npt.NDArray[np.void]) -> int:
    """How many records a cache line has. Compiled, it is a constant."""
    return CACHE_LINE // records.itemsize


@overload(a_line, inline="always")  # type: ignore[untyped-decorator]  # numba ships no types
def _compiled_a_line(records: Any) -> Any:
    number = CACHE_LINE // records.dtype.size

    def compiled(records: Any) -> Any:  # noqa: ARG001 - numba goes by the names
        return number

    return compiled


def ahead(records: npt.NDArray[np.void], index: int | np.int64, key: np.uint64) -> int:
    """How many records further on in its cache line one with `key` is; NOWHERE or more if none.

    records: at a cache line's start, 4 to 64 bytes each, a power of two, with an unsigned "key" at
    the front. All keys of the line are compared at once. The index must lie in the array.
    """
    line, first = CACHE_LINE // records.itemsize, int(index)
    keys = records["key"][first : first // line * line + line].tolist()
    return keys.index(int(key)) if int(key) in keys else NOWHERE


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def _ahead(_: Any, records: Any, index: Any, key: Any) -> Any:
    """Numba's side of `ahead`."""
    record = records.dtype
    width, size = record.typeof("key").bitwidth, record.size
    lanes, stride = 8 * CACHE_LINE // width, 8 * size // width

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = cgutils.get_item_pointer(context, builder, signature.args[0], array, [args[1]])
        word, lane = ir.IntType(64), ir.IntType(width)
        vector, mask = ir.VectorType(lane, lanes), ir.IntType(lanes)
        address = builder.ptrtoint(place, word)
        offset = builder.and_(address, word(CACHE_LINE - 1))
        start = builder.inttoptr(builder.sub(address, offset), vector.as_pointer())
        sought = args[2] if width == 64 else builder.trunc(args[2], lane)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), sought, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        same = builder.icmp_unsigned(
            "==", builder.load(start, align=CACHE_LINE), builder.shuffle_vector(one, one, zeros)
        )
        keys = mask(sum(1 << i for i in range(0, lanes, stride)))
        found = builder.zext(builder.and_(builder.bitcast(same, mask), keys), word)
        # A lane is 4 or 8 bytes, so these shifts divide.
        found = builder.lshr(found, builder.lshr(offset, word((width // 8).bit_length() - 1)))
        first = builder.cttz(found, ir.IntType(1)(0))
        return builder.lshr(first, word(stride.bit_length() - 1))

    return types.int64(records, index, key), generate


@overload(ahead, inline="always")  # type: ignore[untyped-decorator]  # numba ships no types
def _compiled_ahead(records: Any, index: Any, key: Any) -> Any:  # noqa: ARG001 - as above
    def compiled(records: Any, index: Any, key: Any) -> Any:
        return _ahead(records, index, key)

    return compiled


def trailing_zeros(word: np.uint64) -> int:
    """How many of the lowest bits are 0; 64 if all are."""
    value = int(word)
    return (value & -value).bit_length() - 1 if value else 64


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def _trailing_zeros(_: Any, word: Any) -> Any:
    """Numba's side of `trailing_zeros`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.int64(word), generate


@overload(trailing_zeros, inline="always")  # type: ignore[untyped-decorator]  # no types
def _compiled_trailing_zeros(word: Any) -> Any:  # noqa: ARG001 - as above
    def compiled(word: Any) -> Any:
        return _trailing_zeros(word)

    return compiled
