"""Numbers of any width as float64: a value means the same, whichever type a writer chose."""

import pyarrow as pa
import pyarrow.compute as pc


def float64(array: pa.Array) -> pa.Array:
    """Integers, floats and decimals (not in a dictionary) as float64, with nulls kept.

    What a log in JSON would give: integers beyond 2⁵³ and decimals become the nearest number, and
    a fraction in 32 or 16 bits the number its shortest decimal form reads as, 0.1 and not
    0.10000000149011612. NaN stays NaN.
    """
    kind = array.type
    if pa.types.is_decimal(kind):
        return array.cast(pa.string()).cast(pa.float64())  # its own cast is off in the last bit
    exact = array.cast(pa.float64(), safe=False)
    if pa.types.is_float16(kind):
        text = pa.array(array.to_numpy(zero_copy_only=False).astype(str))  # Arrow writes all digits
    elif pa.types.is_float32(kind):
        text = array.cast(pa.string())
    else:
        return exact
    # A whole number is meant as it is: the shortest form may round its last digits.
    return pc.if_else(pc.equal(pc.trunc(exact), exact), exact, text.cast(pa.float64()))
