"""Every kind of bad input, what is done to which input, and exactly what comes of it.

    site          two good logs and their settings; the commands; what must hold afterwards
    lines         bad lines between good ones: dead letters
    files         files as a whole
    stores        stores and serving versions
    checkpoints   what a run goes on with
    surroundings  settings, folders, rights, the disk
    children      replays without rights, or on a small disk

`python -m tests.system.bad_inputs` runs them all and prints the table.
"""

from tests.system.bad_inputs.checkpoints import CHECKPOINTS
from tests.system.bad_inputs.files import FILES
from tests.system.bad_inputs.lines import LINES
from tests.system.bad_inputs.site import Kind, Outcome, Site, Unavailable, check, unspoiled
from tests.system.bad_inputs.stores import STORES
from tests.system.bad_inputs.surroundings import SURROUNDINGS

KINDS: tuple[Kind, ...] = (*LINES, *FILES, *STORES, *CHECKPOINTS, *SURROUNDINGS)

__all__ = ["KINDS", "LINES", "Kind", "Outcome", "Site", "Unavailable", "check", "unspoiled"]
