"""Finding the bad lines in a block that cannot be read as a whole."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from streams.compute.arrays import I64

T = TypeVar("T")


def split_bad_rows(
    index: I64, read: Callable[[I64], T | None], guesses: Sequence[Callable[[], list[int]]]
) -> tuple[list[tuple[I64, T]], list[int]]:
    """Read the good ones of some lines (ascending indices) in few blocks, and find the bad ones.

    read: gives what lines hold together, or None if any of the lines is bad. guesses: each names
    lines that may be bad, the cheapest guess first; guesses decide only what is tried first.
    Returns the blocks in order, each with its indices, and the bad indices, ascending. A line
    is bad if and only if `read` refuses the line alone.
    """
    rest, bad = index, set[int]()
    for guess in guesses:
        suspects = set(guess()) - bad
        if len(suspects) * 4 < len(index):  # else halving costs less
            bad |= {i for i in suspects if read(np.array([i])) is None}
            rest = np.setdiff1d(index, sorted(bad), assume_unique=True)
        block = read(rest)
        if block is not None:
            return [(rest, block)], sorted(bad)
    blocks: list[tuple[I64, T]] = []
    todo = [rest]
    while todo:
        part = todo.pop()
        block = read(part)
        if block is not None:
            blocks.append((part, block))
        elif len(part) == 1:
            bad.add(int(part[0]))
        else:
            todo += [part[len(part) // 2 :], part[: len(part) // 2]]
    return blocks, sorted(bad)
