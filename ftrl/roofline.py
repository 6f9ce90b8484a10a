"""The memory traffic of learning without its arithmetic: how fast any learner could be here."""

import numpy as np

from ftrl.scratch import BLOCK
from ftrl.table import Shift, Slots, home
from streams.intrinsics import prefetch
from streams.jit import U64, kernel


@kernel
def pass_through(slots: Slots, shift: Shift, keys: U64, fields: int) -> float:
    """Read and write the home slot of each key, `fields` keys a row; returns the sum of all z.

    The cache lines are loaded BLOCK rows ahead, as in learning. What is written is what was read.
    """
    total = 0.0
    ahead = BLOCK * fields
    for i in range(min(ahead, len(keys))):
        prefetch(slots, np.int64(home(slots, shift, keys[i])))
    for i in range(len(keys)):
        if i + ahead < len(keys):
            prefetch(slots, np.int64(home(slots, shift, keys[i + ahead])))
        slot = home(slots, shift, keys[i])
        z, n = slots[slot]["z"], slots[slot]["n"]
        total += z
        slots[slot]["z"] = z
        slots[slot]["n"] = n
    return total
