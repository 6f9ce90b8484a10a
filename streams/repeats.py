"""Which lines of JSON may give a member twice: no decoder at hand says so quickly."""

import numpy as np

from streams.jit import I64, U8, Bool, kernel

_OPEN, _OPEN_LIST = ord("{"), ord("[")
_CLOSE, _CLOSE_LIST = ord("}"), ord("]")
_QUOTE, _BACKSLASH, _COLON = ord('"'), ord("\\"), ord(":")
_MEMBERS = 256  # a line with more of them at once is suspected
_HASH_BITS = (1 << 48) - 1


@kernel
def repeats(text: U8, starts: I64, ends: I64, found: Bool) -> None:
    """Guess, for lines that are JSON, whether an object in them has two equal names.

    Line i is text[starts[i]:ends[i]]; found[i] is written. Names are compared by a hash of
    their bytes as they stand, a name being a string with a colon right after it. On text that
    is not JSON the guess means nothing.
    """
    hashes = np.empty(_MEMBERS, np.int64)
    depths = np.empty(_MEMBERS, np.int64)
    for i in range(len(starts)):
        found[i] = False
        members = 0  # of the objects that are open, those of the innermost one last
        depth = 0
        at = starts[i]
        end = ends[i]
        while at < end and not found[i]:
            byte = text[at]
            at += 1
            if byte in (_OPEN, _OPEN_LIST):
                depth += 1
            elif byte in (_CLOSE, _CLOSE_LIST):
                depth -= 1
                while members > 0 and depths[members - 1] > depth:
                    members -= 1
            elif byte == _QUOTE:
                first = at
                while at < end and text[at] != _QUOTE:
                    at += 2 if text[at] == _BACKSLASH else 1
                at += 1
                if at < end and text[at] == _COLON:
                    name = 0
                    for k in range(first, at - 1):
                        name = (name * 31 + int(text[k])) & _HASH_BITS
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
