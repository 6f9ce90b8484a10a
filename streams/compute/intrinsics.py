"""Instructions of the processor beyond arithmetic, for kernels; plain Python without Numba."""

import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

CACHE_LINE = 64
NOT_IN_LINE = 16  # or more: no record has the key; a line has at most so many records

_ADVANCING = threading.Lock()
_FOR_READING, _FOR_WRITING = 0, 1
_INTO_ALL_CACHES, _OF_DATA = 3, 1


def prefetch(array: npt.NDArray[Any], index: int | np.int64) -> None:
    """Start to load the cache line of `array[index]`; no result depends on it.

    The index must lie in the array.
    """


def prefetch_to_write(array: npt.NDArray[Any], index: int | np.int64) -> None:
    """Do as `prefetch` does, and take the line from other cores: it will be written to."""


def _item_pointer(context: Any, builder: Any, kind: Any, args: Any) -> Any:
    """The address of an item of an array of type `kind`; args: the array, the item's index."""
    array = context.make_array(kind)(context, builder, args[0])
    return cgutils.get_item_pointer(context, builder, kind, array, [args[1]])


def _loader(purpose: int) -> Any:
    """An intrinsic that loads a line for a purpose."""

    @intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
    def load(_: Any, array: Any, index: Any) -> Any:
        """Numba's side of `prefetch`: types in, and what generates the instruction."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = _item_pointer(context, builder, signature.args[0], args)
            byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            called = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            function = builder.module.declare_intrinsic("llvm.prefetch", [byte], called)
            hints = [word(hint) for hint in (purpose, _INTO_ALL_CACHES, _OF_DATA)]
            builder.call(function, [builder.bitcast(pointer, byte), *hints])
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


def records_per_line(records: npt.NDArray[np.void]) -> int:
    """The number of records in a cache line; a constant when compiled."""
    return CACHE_LINE // records.itemsize


@overload(records_per_line, inline="always")  # type: ignore[untyped-decorator]  # numba ships no types
def _compiled_records_per_line(records: Any) -> Any:
    number = CACHE_LINE // records.dtype.size

    def compiled(records: Any) -> Any:  # noqa: ARG001 - numba goes by the names
        return number

    return compiled


def find_in_line(records: npt.NDArray[np.void], first: int | np.int64, key: np.uint64) -> int:
    """The index, from 0, of the record of a cache line with `key`; NOT_IN_LINE or more if none.

    records: at a cache line's start, 4 to 64 bytes each, a power of two, with an unsigned "key" at
    the front. All keys of the line are compared at once. first: the line's first record, which must
    lie in the array.
    """
    keys = records["key"][first : first + records_per_line(records)].tolist()
    return keys.index(int(key)) if int(key) in keys else NOT_IN_LINE


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def _in_line(_: Any, records: Any, first: Any, key: Any) -> Any:
    """Numba's side of `find_in_line`."""
    record = records.dtype
    width, size = record.typeof("key").bitwidth, record.size
    lanes, stride = 8 * CACHE_LINE // width, 8 * size // width

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _item_pointer(context, builder, signature.args[0], args)
        lane = ir.IntType(width)
        vector, mask = ir.VectorType(lane, lanes), ir.IntType(lanes)
        line = builder.bitcast(pointer, vector.as_pointer())
        sought = args[2] if width == 64 else builder.trunc(args[2], lane)
        single = builder.insert_element(
            ir.Constant(vector, ir.Undefined), sought, ir.IntType(32)(0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        same = builder.icmp_unsigned(
            "==",
            builder.load(line, align=CACHE_LINE),
            builder.shuffle_vector(single, single, zeros),
        )
        keys = mask(sum(1 << i for i in range(0, lanes, stride)))
        found = builder.and_(builder.bitcast(same, mask), keys)
        found = builder.zext(found, ir.IntType(64))
        lane_found = builder.cttz(found, ir.IntType(1)(0))
        return builder.lshr(lane_found, ir.IntType(64)(stride.bit_length() - 1))

    return types.int64(records, first, key), generate


@overload(find_in_line, inline="always")  # type: ignore[untyped-decorator]  # numba ships no types
def _compiled_find_in_line(records: Any, first: Any, key: Any) -> Any:  # noqa: ARG001 - as above
    def compiled(records: Any, first: Any, key: Any) -> Any:
        return _in_line(records, first, key)

    return compiled


def trailing_zeros(word: np.uint64) -> int:
    """The number of lowest bits that are 0; 64 if all are."""
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


def load_acquire(counters: npt.NDArray[np.int64], index: int | np.int64) -> int:
    """Load `counters[index]`; sees all that its writer did before its `store_release`."""
    value: int = counters[index]
    return value


def store_release(counters: npt.NDArray[np.int64], index: int | np.int64, value: int) -> None:
    """Set `counters[index]`; a `load_acquire` of it also sees all that was done before."""
    counters[index] = value


def compare_and_advance(counters: npt.NDArray[np.int64], index: int | np.int64, value: int) -> bool:
    """Set `counters[index]` to `value` + 1 if it is `value`; True if this thread did so.

    Of the threads that try only one does. It acquires what was released with `value`, and releases.
    """
    with _ADVANCING:
        if counters[index] != value:
            return False
        counters[index] = value + 1
        return True


def yield_core() -> None:
    """Let a thread run that waits for this core; without one, go on at once."""
    time.sleep(0)


def sleep_briefly() -> None:
    """Sleep for 50 microseconds, about."""
    time.sleep(5e-5)


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def _published(_: Any, counters: Any, index: Any) -> Any:
    """Numba's side of `load_acquire`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(
            _item_pointer(context, builder, signature.args[0], args), "acquire", 8
        )

    return types.int64(counters, index), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def _publish(_: Any, counters: Any, index: Any, value: Any) -> Any:  # noqa: ARG001 - as above
    """Numba's side of `store_release`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _item_pointer(context, builder, signature.args[0], args)
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(counters, index, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def _advance(_: Any, counters: Any, index: Any, value: Any) -> Any:  # noqa: ARG001 - as above
    """Numba's side of `compare_and_advance`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _item_pointer(context, builder, signature.args[0], args)
        more = builder.add(args[2], ir.IntType(64)(1))
        pair = builder.cmpxchg(pointer, args[2], more, "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(counters, index, types.int64), generate


def _system_call(name: str, *arguments: int) -> Any:
    """An intrinsic that calls a function of the C library, with 32-bit numbers."""

    @intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
    def call(_: Any) -> Any:
        """Numba's side of `yield_core` and `sleep_briefly`."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            word = ir.IntType(32)
            called = ir.FunctionType(word, [word] * len(arguments))
            function = cgutils.get_or_insert_function(builder.module, called, name)
            builder.call(function, [word(argument) for argument in arguments])
            return context.get_dummy_value()

        return types.void(), generate

    return call


_yield, _sleep = _system_call("sched_yield"), _system_call("usleep", 50)


@overload(load_acquire, inline="always")  # type: ignore[untyped-decorator]  # no types
def _compiled_load_acquire(counters: Any, index: Any) -> Any:  # noqa: ARG001 - as above
    def compiled(counters: Any, index: Any) -> Any:
        return _published(counters, index)

    return compiled


@overload(store_release, inline="always")  # type: ignore[untyped-decorator]  # no types
def _compiled_store_release(counters: Any, index: Any, value: Any) -> Any:  # noqa: ARG001 - as above
    def compiled(counters: Any, index: Any, value: Any) -> Any:
        _publish(counters, index, value)

    return compiled


@overload(compare_and_advance, inline="always")  # type: ignore[untyped-decorator]  # no types
def _compiled_compare_and_advance(counters: Any, index: Any, value: Any) -> Any:  # noqa: ARG001 - as above
    def compiled(counters: Any, index: Any, value: Any) -> Any:
        return _advance(counters, index, value)

    return compiled


@overload(yield_core, inline="always")  # type: ignore[untyped-decorator]  # no types
def _compiled_yield_core() -> Any:
    def compiled() -> Any:
        _yield()

    return compiled


@overload(sleep_briefly, inline="always")  # type: ignore[untyped-decorator]  # no types
def _compiled_sleep_briefly() -> Any:
    def compiled() -> Any:
        _sleep()

    return compiled
