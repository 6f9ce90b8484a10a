"""Lines of JSON that may give a member twice, found by a kernel.

pyarrow refuses a block with such a line, and msgspec does not mind the line, so neither points at
it. Of 100,000 lines with 1,000 such ones the file is read in 0.3 s with this kernel and in 2.9 s by
halving the block until each is alone; with 100 such lines in 0.2 s and 0.8 s
(`python -m benchmarks.damaged_logs`, two cores of a cloud machine).
"""

import numpy as np

from streams.compute.arrays import I64, U8, Bool
from streams.compute.jit import allocating

_OPEN, _OPEN_LIST = ord("{"), ord("[")
_CLOSE, _CLOSE_LIST = ord("}"), ord("]")
_QUOTE, _BACKSLASH, _COLON = ord('"'), ord("\\"), ord(":")
_MEMBERS = 256  # a line with more of them at once is suspected
_HASH_BITS = (1 << 48) - 1


def duplicated(text: U8, starts: I64, ends: I64) -> Bool:
    """Guess which of some ascending lines, all JSON, hold an object with two equal names.

    Line i is text[starts[i]:ends[i]], the result bool [lines]. Names are compared by a hash of
    their bytes as they stand, a name being a string with a colon right after it. On text that
    is not JSON the guess means nothing.
    """
    found = np.zeros(len(starts), np.bool_)
    # Most of a line is inside strings; going from quote to quote skips it.
    _duplicated(text, np.flatnonzero(text == _QUOTE), starts, ends, found)
    return found


@allocating
def _duplicated(text: U8, quotes: I64, starts: I64, ends: I64, found: Bool) -> None:
    """Do as `duplicated` does, with the indices of all quotes, into `found`, which is all false."""
    hashes = np.empty(_MEMBERS, np.int64)
    depths = np.empty(_MEMBERS, np.int64)
    q = 0
    for i in range(len(starts)):
        at = starts[i]
        end = ends[i]
        members = 0  # of the objects that are open, those of the innermost one last
        depth = 0
        while q < len(quotes) and quotes[q] < at:
            q += 1
        while q < len(quotes) and quotes[q] < end and not found[i]:
            opening = quotes[q]
            for p in range(at, opening):
                byte = text[p]
                if byte in (_OPEN, _OPEN_LIST):
                    depth += 1
                elif byte in (_CLOSE, _CLOSE_LIST):
                    depth -= 1
                    while members > 0 and depths[members - 1] > depth:
                        members -= 1
            q += 1
            closing = end
            while q < len(quotes) and quotes[q] < end:
                closing = quotes[q]
                q += 1
                p = closing - 1
                while text[p] == _BACKSLASH:
                    p -= 1
                if (closing - p) % 2 == 1:
                    break
            at = closing + 1
            if at < end and text[at] == _COLON:
                name = 0
                for p in range(opening + 1, closing):
                    name = (name * 31 + int(text[p])) & _HASH_BITS
                k = members - 1
                while k >= 0 and depths[k] == depth:
                    if hashes[k] == name:
                        found[i] = True
                    k -= 1
                if members == _MEMBERS:
                    found[i] = True
                    break
                hashes[members] = name
                depths[members] = depth
                members += 1
